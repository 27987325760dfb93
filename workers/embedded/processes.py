"""Starts child processes that cannot outlive this process.

Restarts and stop order are in `supervisor`.
"""

import ctypes
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import IO

PR_SET_PDEATHSIG = 1
LOG_LIMIT_BYTES = 10_000_000
_LISTEN = "0A"
PORTS = range(20_000, 32_768)

# Loaded before any fork: the child of a threaded parent must not load libraries.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class EmbeddedError(RuntimeError):
    """A process of the embedded run failed to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system account that runs the servers if the current user is root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCommand:
    """How to start one process, and the signals that stop it.

    `stop` sends `stop_signal`. The kernel sends `death_signal` when the thread that
    started the process ends: start long-lived processes from the main thread.
    """

    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: Signals = Signals.SIGTERM
    death_signal: Signals = Signals.SIGKILL


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProgram:
    """A prepared server that can be started repeatedly."""

    name: str
    url: str
    port: int
    command: ProcessCommand
    ready: Callable[[], bool]


def server_account() -> Account | None:
    """Return the account for servers that refuse to run as root, None without root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def server_environment() -> dict[str, str]:
    """Return the environment for servers: no secrets, UTC."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def spawn(
    command: ProcessCommand, *, stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a new session with its output appended to its log.

    `stdout` may be subprocess.PIPE, to read the output of a short command.
    """
    parent = os.getpid()
    death_signal = int(command.death_signal)

    def die_with_parent() -> None:
        # Runs after the change of user, which clears the setting.
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # the parent died before the call above
            os._exit(1)

    account = command.account
    with open_log(command.log) as log:
        return subprocess.Popen(  # noqa: S603  (fixed argv, no shell)
            command.argv,
            env=command.env,
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log if stdout is None else stdout,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the supervisor only
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=die_with_parent,  # noqa: PLW1509  (one bound C call, no locks)
        )


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; rotates it once at 10 MB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def log_tail(path: Path, *, lines: int = 15) -> str:
    """Return the last lines of a log, for an error message."""
    with suppress(OSError):
        text = path.read_bytes()[-20_000:].decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])
    return ""


def stop(
    process: subprocess.Popen[bytes], stop_signal: Signals, *, grace: float
) -> int:
    """Send the stop signal, wait, then kill the remaining process group."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.send_signal(stop_signal)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    kill_group(process.pid)
    return process.wait()


def kill_group(group: int) -> None:
    """Kill every process of a group; ignores groups that have ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def wait_until(
    ready: Callable[[], bool], *, seconds: float, every: float = 0.02
) -> bool:
    """Poll a condition; return whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def free_port() -> int:
    """Return a free loopback port, reserved while this process lives.

    A UDP socket on the same port marks the reservation, since no process here uses UDP.
    The port is below ip_local_port_range, so that outgoing connections do not take it
    while its server restarts.
    """
    while True:
        port = secrets.choice(PORTS)
        if reserve_port(port):
            return port


def reserve_port(port: int) -> bool:
    """Reserve a loopback port as ``free_port`` does; False if it is not free."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    with socket.socket() as probe, suppress(OSError):
        # A closed connection of an earlier server does not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claim.bind(("127.0.0.1", port))
        probe.bind(("127.0.0.1", port))
        claim.detach()  # stays open until this process ends
        return True
    claim.close()
    return False


def group_listens(group: int, port: int) -> bool:
    """Return whether a process of the group listens on a port; True without /proc.

    Sockets are matched by inode: https://docs.kernel.org/networking/proc_net_tcp.html
    """
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line.split() for path in tables for line in _read_lines(path)]
    if not lines:
        return True
    sockets = {
        f"socket:[{fields[9]}]"
        for fields in lines
        if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port
    }
    return any(
        not sockets.isdisjoint(_read_links(folder / "fd"))
        for folder in Path("/proc").glob("[0-9]*")
        if _group_of(int(folder.name)) == group
    )


def _read_lines(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().splitlines()[1:]
    return []


def _read_links(folder: Path) -> set[str]:
    links = set()
    with suppress(OSError):  # the process ended
        for path in folder.iterdir():
            with suppress(OSError):
                links.add(str(path.readlink()))
    return links


def _group_of(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None
