"""HAProxy as the one door in front of several."""

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from signal import Signals

from workers.embedded.processes import (
    EmbeddedError,
    ProcessCommand,
    port_is_open,
    wait_until,
)
from workers.embedded.supervisor import Program

HOW_TO_GET = "HAProxy is not installed: apt-get install haproxy (2.4 or later)."
SECONDS = 5.0


def find() -> str:
    """Return the program. Raises EmbeddedError."""
    # Daemons of the machine are not on everybody's path.
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not found:
        raise EmbeddedError(HOW_TO_GET)
    return found


def program(
    config: Path, *, port: int, log: Path, environment: Mapping[str, str], stage: int
) -> Program:
    """Return it as a program; the configuration reads the environment."""
    return Program(
        name="haproxy",
        command=ProcessCommand(
            # A master and a worker: `reload` changes the worker under the same sockets.
            argv=(find(), "-W", "-db", "-f", str(config)),
            log=log,
            env=environment,
            stop_signal=Signals.SIGUSR1,  # what is under way ends first
        ),
        ready=lambda _started: port_is_open(port),
        address=f"http://127.0.0.1:{port}",
        stage=stage,
        grace=5,
    )


def reload(master: int, admin: Path) -> None:
    """Have it read its configuration anew; what is under way ends at the old worker.

    Raises EmbeddedError.
    """
    before = _worker(admin)
    os.kill(master, Signals.SIGUSR2)
    if not wait_until(lambda: _worker(admin) not in {"", before}, seconds=SECONDS):
        raise EmbeddedError("HAProxy did not take its configuration: see its log.")


def _worker(admin: Path) -> str:
    """Return the process id of the worker that listens; none at this moment is ""."""
    try:
        lines = ask(admin, "show info").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("Pid:")), "")


def ask(admin: Path, command: str) -> str:
    """Return what a running HAProxy answers on its admin socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(str(admin))
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
