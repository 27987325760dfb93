"""What each bench runs on: servers, processes on loopback, and their CPU time.

One PostgreSQL and one Valkey for both sides, without fsync for both, so that the disk is
not measured.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.servers import start_postgres, start_valkey
from tests.support import ROOT
from workers.embedded import processes
from workers.embedded.binaries import scratch_folder
from workers.embedded.processes import ProcessCommand

READY_SECONDS = 60.0
STOP_SECONDS = 10.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(slots=True, kw_only=True)
class Process:
    """One of ours, the peer's, or of what both stand on."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    _frozen: int = field(default=0, init=False)

    def cpu_seconds(self) -> float:
        """Return user and system time of the whole process tree so far."""
        return _cpu_of_tree(self.popen.pid)

    def peak_memory(self) -> int:
        """Return the most bytes that it had resident at once; without its children."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        """End it with SIGKILL, at once."""
        processes.kill_group(self.popen.pid)
        self.popen.wait()

    def freeze(self) -> None:
        """Suspend it until ``thaw`` was called as often."""
        self._frozen += 1
        os.killpg(self.popen.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo one ``freeze``."""
        self._frozen -= 1
        if not self._frozen:
            os.killpg(self.popen.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it in order."""
        os.killpg(self.popen.pid, signal.SIGCONT)
        processes.stop(self.popen, signal.SIGTERM, grace=STOP_SECONDS)


@contextmanager
def frozen(suspended: Iterable[Process]) -> Iterator[None]:
    """Suspend processes for the block."""
    with ExitStack() as stack:
        for process in suspended:
            process.freeze()
            stack.callback(process.thaw)
        yield


@dataclass(slots=True, kw_only=True)
class Stage:
    """The servers, and how to start a process beside them."""

    folder: Path
    database_url: str
    redis_url: str
    servers: dict[str, int]
    environment: dict[str, str]
    _started: int = field(default=0, init=False)

    @contextmanager
    def running(
        self,
        name: str,
        *words: str,
        ready: Callable[["Process"], bool],
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Process]:
        """Run a Python program for the block, once it is ready."""
        self._started += 1
        log = self.folder / "log" / f"{self._started:02}-{name}.log"
        command = ProcessCommand(
            argv=(sys.executable, *words),
            log=log,
            env={**self.environment, "PGAPPNAME": name, **(environment or {})},
            cwd=ROOT,
        )
        process = Process(name=name, popen=processes.spawn(command), log=log)
        try:
            wait_for(
                lambda: ready(process),
                f"{name} did not start: {log}",
                alive=process,
            )
            yield process
        finally:
            if process.popen.poll() is None:
                process.stop()

    def server_cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time of PostgreSQL and Valkey so far."""
        return {name: _cpu_of_tree(pid) for name, pid in self.servers.items()}

    def url_of(self, *, database: str, redis_number: int) -> dict[str, str]:
        """Return the addresses of another database on the same servers."""
        return {
            "DATABASE_URL": self.database_url.rpartition("/")[0] + f"/{database}",
            "REDIS_URL": self.redis_url.rpartition("/")[0] + f"/{redis_number}",
        }


@contextmanager
def set_up() -> Iterator[Stage]:
    """Start the servers, and put their addresses in this process's environment."""
    folder = scratch_folder("transcribe-bench-")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        servers = {
            "postgres": start_postgres(folder / "postgres", durable=False),
            "valkey": start_valkey(folder / "valkey", durable=False),
        }
        for server in servers.values():
            stack.callback(server.stop)
        ours = {
            "DATABASE_URL": servers["postgres"].url,
            "REDIS_URL": servers["valkey"].url,
            "DJANGO_SETTINGS_MODULE": "transcribe_platform.settings",
            "SECRET_KEY": "bench",
            "FIELD_ENCRYPTION_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
            "MEDIA_ROOT": str(folder / "media"),
            "ALLOWED_HOSTS": "*",
            "EGRESS_ALLOW": "127.0.0.1",
            "DEEPGRAM_API_KEY": "bench",
            # Counted, and never met.
            "REQUESTS_PER_MINUTE": "1000000000",
            "REQUESTS_PER_MINUTE_PER_KEY": "1000000000",
        }
        os.environ.update(ours)
        # Compiled once for all processes, and no traces beside the sources.
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(folder / "pycache"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        processes_environment = dict(os.environ)
        os.environ["LOG_LEVEL"] = "ERROR"  # of this process alone: the table is here
        yield Stage(
            folder=folder,
            database_url=ours["DATABASE_URL"],
            redis_url=ours["REDIS_URL"],
            servers={name: server.pid for name, server in servers.items()},
            environment=processes_environment,
        )


def create_database(stage: Stage, name: str) -> None:
    """Create an empty database beside ours."""
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())


def wait_for(
    ready: Callable[[], bool],
    message: str,
    *,
    seconds: float = READY_SECONDS,
    alive: Process | None = None,
) -> None:
    """Wait for something, or raise RuntimeError with the message."""

    def settled() -> bool:
        return bool(alive and alive.popen.poll() is not None) or ready()

    in_time = processes.wait_until(settled, seconds=seconds)
    if not in_time or (alive and alive.popen.poll() is not None):
        tail = processes.log_tail(alive.log) if alive else ""
        raise RuntimeError(f"{message}\n{tail}")


def ask(url: str, *, method: str = "GET", **fields: Any) -> Any:
    """Call a JSON page of the emulator or the sink."""
    body = json.dumps(fields).encode() if fields else None
    request = urllib.request.Request(
        url, data=body, method=method, headers={"content-type": "application/json"}
    )
    with _opener.open(request, timeout=30) as response:
        return json.loads(response.read() or b"null")


def _cpu_of_tree(pid: int) -> float:
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        # What ended inside the tree is counted by its parent.
        total += times.user + times.system
        total += times.children_user + times.children_system
    return total
