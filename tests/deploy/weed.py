"""The S3 server of docker-compose.yml, as a process of a test."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.one_machine import store_arguments
from workers.embedded.probes import http_answers
from workers.embedded.processes import (
    ProcessCommand,
    free_port,
    spawn,
    stop,
    wait_until,
)


@contextmanager
def running(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Run the compose file's command on free loopback ports; yield its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    program = str(Path(sys.executable).with_name("weed"))
    log = folder / "weed.log"
    process = spawn(
        ProcessCommand(
            argv=(program, *store_arguments(folder, port)),
            log=log,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **environment},
            cwd=folder,
        )
    )
    try:
        is_up = wait_until(lambda: http_answers(f"{url}/healthz"), seconds=60)
        assert is_up, log.read_text()
        yield url
    finally:
        stop(process, signal.SIGTERM, grace=5)
