"""The S3 server of docker-compose.yml, as a process of a test."""

import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from workers.embedded.processes import Command, free_port, spawn, stop, wait_until

PORTS = ("s3.port", "master.port", "volume.port", "filer.port")


def loopback_ports() -> dict[str, int]:
    """Return a free port for each door, and for what it says to itself."""
    return {name + more: free_port() for name in PORTS for more in ("", ".grpc")} | {
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }


@contextmanager
def running(
    folder: Path, words: Sequence[str], environment: Mapping[str, str]
) -> Iterator[str]:
    """Run `weed` on free loopback ports; yield the URL of its S3 door."""
    ports = loopback_ports()
    flags = [f"-{name}={port}" for name, port in ports.items()]
    folder.mkdir(parents=True, exist_ok=True)
    process = spawn(
        Command(
            argv=(
                str(Path(sys.executable).with_name("weed")),
                *words,
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", *flags),
            ),
            log=folder / "weed.log",
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
            cwd=folder,
        )
    )
    url = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        assert wait_until(lambda: answers(url), seconds=30), (
            folder / "weed.log"
        ).read_text()
        yield url
    finally:
        stop(process, signal.SIGTERM, grace=5)


def answers(url: str) -> bool:
    """Tell whether the S3 door is open: asked without a key it refuses."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True
