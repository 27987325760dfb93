"""Starts PostgreSQL and Valkey (or Redis) on free loopback ports.

Each stores its data and password in its folder. A restart on the same folder continues
with this data, also after kill -9.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from workers.embedded import postgres, processes, valkey
from workers.embedded.processes import EmbeddedError, ServerProgram

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(slots=True, kw_only=True)
class Server:
    """A running server."""

    service: ServerProgram
    process: subprocess.Popen[bytes]
    _stopped: bool = field(default=False, init=False)

    @property
    def url(self) -> str:
        """The URL with its password, for DATABASE_URL or REDIS_URL."""
        return self.service.url

    @property
    def port(self) -> int:
        """The loopback port."""
        return self.service.port

    @property
    def pid(self) -> int:
        """The process id of the server itself."""
        return self.process.pid

    def stop(self) -> None:
        """Stop the server gracefully; idempotent."""
        if not self._stopped:
            stop_signal = self.service.command.stop_signal
            processes.stop(self.process, stop_signal, grace=STOP_SECONDS)
            self._stopped = True


def start_postgres(data_dir: Path, *, durable: bool, port: int | None = None) -> Server:
    """Start PostgreSQL with a database named `transcribe`.

    Without `durable` it is fast and unsafe on power loss: for tests and the demo. Call
    from the main thread: the server dies with the thread that started it.
    """
    return start(postgres.prepare(data_dir, durable=durable, port=port))


def start_valkey(data_dir: Path, *, durable: bool, port: int | None = None) -> Server:
    """Start Valkey or Redis with 64 databases; without `durable`, nothing on disk."""
    return start(valkey.prepare(data_dir, durable=durable, port=port))


def start(service: ServerProgram) -> Server:
    """Start a prepared server and wait until it is ready; raises EmbeddedError."""
    process = processes.spawn(service.command)

    def is_ready_or_ended() -> bool:
        return process.poll() is not None or service.ready()

    in_time = processes.wait_until(is_ready_or_ended, seconds=START_SECONDS)
    if in_time and process.poll() is None:
        return Server(service=service, process=process)
    processes.stop(process, service.command.stop_signal, grace=1)
    log = service.command.log
    raise EmbeddedError(
        f"{service.name} did not start. The end of {log}:\n{processes.log_tail(log)}"
    )


@contextmanager
def servers(
    data_dir: Path,
    *,
    durable: bool,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[dict[str, str]]:
    """Yield DATABASE_URL and REDIS_URL; start the servers that are not defined."""
    starters: dict[str, tuple[str, Callable[..., Server]]] = {
        "DATABASE_URL": ("postgres", start_postgres),
        "REDIS_URL": ("valkey", start_valkey),
    }
    with ExitStack() as stack:
        urls = {}
        for variable, (folder, start_one) in starters.items():
            urls[variable] = environment.get(variable, "")
            if not urls[variable]:
                server = start_one(data_dir / folder, durable=durable)
                stack.callback(server.stop)
                urls[variable] = server.url
        yield urls
