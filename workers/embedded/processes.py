"""Start child processes that cannot outlive us.

Everything here speaks about one process at a time; who is restarted, and in which
order things stop, is the supervisor's business.
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
PORTS = range(20_000, 32_768)

# Looked up once, before any fork: the child of a threaded parent may not load anything.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class EmbeddedError(RuntimeError):
    """A process of the embedded run could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system account that servers run under when we are root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCommand:
    """How to start one process, and which signal ends it well.

    `stop_signal` is sent when we stop it; `death_signal` is sent by the kernel when
    the thread that started it ends, so start long-lived processes from the main thread.
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
    """A server that is prepared and can be started, any number of times."""

    name: str
    url: str
    port: int
    command: ProcessCommand
    ready: Callable[[], bool]


def server_account() -> Account | None:
    """Return the account for servers that refuse to run as root, None if we are not."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def server_environment() -> dict[str, str]:
    """Return the environment for servers: none of our secrets, one time zone."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def spawn(
    command: ProcessCommand, *, stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in its own session, its output appended to its log.

    `stdout` may be subprocess.PIPE, to read what a short command prints.
    """
    parent = os.getpid()
    death_signal = int(command.death_signal)

    def die_with_parent() -> None:
        # Runs after the change of user: the kernel clears the setting on that change.
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before the line above took effect
            os._exit(1)

    account = command.account
    with open_log(command.log) as log:
        return subprocess.Popen(  # noqa: S603  (argv is ours, no shell)
            command.argv,
            env=command.env,
            cwd=command.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log if stdout is None else stdout,
            stderr=log,
            start_new_session=True,  # the terminal's Ctrl-C reaches only us
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=die_with_parent,  # noqa: PLW1509  (one bound C call, no locks)
        )


def open_log(path: Path) -> IO[bytes]:
    """Open a log for appending; one older generation is kept beyond 10 MB."""
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


def stop(process: subprocess.Popen[bytes], ask: Signals, *, grace: float) -> int:
    """Ask a process to end, then kill it and what is left of its group."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.send_signal(ask)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    kill_group(process.pid)
    return process.wait()


def kill_group(group: int) -> None:
    """Kill every process of a group that `spawn` began; none left is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def wait_until(
    ready: Callable[[], bool], *, seconds: float, every: float = 0.02
) -> bool:
    """Poll a condition; return whether it came true in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def free_port() -> int:
    """Return a free loopback port, which no other caller gets while this process lives.

    The UDP socket of the same number says so to other processes: none of ours uses UDP.
    It is below those that Linux gives to clients (ip_local_port_range), whose
    connections would take it while its server is restarted.
    """
    while True:
        port = secrets.choice(PORTS)
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with socket.socket() as probe, suppress(OSError):
            claim.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            claim.detach()  # it stays open until this process ends
            return port
        claim.close()


def port_is_open(port: int) -> bool:
    """Tell whether something accepts connections on a loopback port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
