"""Runs HAProxy as the load balancer."""

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

from workers.embedded import probes
from workers.embedded.processes import (
    EmbeddedError,
    ProcessCommand,
    wait_until,
)
from workers.embedded.supervisor import Program

HOW_TO_GET = "HAProxy is not installed: apt-get install haproxy (2.4 or later)."
SECONDS = 5.0


def find() -> str:
    """Return the path of the program; raises EmbeddedError."""
    # Users' PATH often lacks /usr/sbin.
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not found:
        raise EmbeddedError(HOW_TO_GET)
    return found


def program(
    config: Path, *, port: int, log: Path, environment: Mapping[str, str], stage: int
) -> Program:
    """Return HAProxy as a program; its configuration reads the environment.

    It is ready once its health checks have found a web and a live process.
    """
    front = f"http://127.0.0.1:{port}"
    return Program(
        name="haproxy",
        command=ProcessCommand(
            # Master-worker mode: `reload` replaces the worker and keeps the sockets.
            argv=(find(), "-W", "-db", "-f", str(config)),
            log=log,
            env=environment,
            stop_signal=Signals.SIGUSR1,  # finishes requests in progress
        ),
        ready=lambda _started: (
            probes.http_answers(f"{front}/health/live")
            and probes.http_answers(f"{front}/v1/events")
        ),
        address=front,
        stage=stage,
        grace=5,
    )


def reload(master: int, admin: Path) -> None:
    """Reload the configuration; the old worker finishes its requests.

    Raises EmbeddedError.
    """
    old_worker = _worker(admin)
    os.kill(master, Signals.SIGUSR2)
    if not wait_until(lambda: _worker(admin) not in {"", old_worker}, seconds=SECONDS):
        raise EmbeddedError("HAProxy did not load its configuration: see its log.")


def _worker(admin: Path) -> str:
    """Return the `Pid:` line of the current worker, "" if there is none."""
    try:
        lines = ask(admin, "show info").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("Pid:")), "")


def ask(admin: Path, command: str) -> str:
    """Return the response to a command on the admin socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(admin))
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
