"""PostgreSQL and Redis of the machine with TLS; those of the wheels have none."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import Server, start
from tests.support.waiting import port_is_open
from workers.embedded import postgres, processes, valkey
from workers.embedded.processes import ServerProgram

ENCRYPTED = "SSL enabled (protocol=TLSv1.3"


def find_postgres() -> Path | None:
    """Return the programs of the machine's newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def find_redis() -> Path | None:
    """Return the machine's Redis or Valkey."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(found) if found else None


@contextmanager
def postgres_with_tls(
    folder: Path, programs: Path, certificate: Path
) -> Iterator[Server]:
    """Run PostgreSQL with a certificate; its log tells which sessions are encrypted."""
    program = postgres.prepare(folder, durable=False, programs=programs)
    file = _own(certificate, folder / "server.pem")
    words = ("ssl=on", f"ssl_cert_file={file}", f"ssl_key_file={file}")
    options = tuple(
        word for each in (*words, "log_connections=on") for word in ("-c", each)
    )
    with _running(_add(program, *options)) as server:
        yield server


@contextmanager
def redis_with_tls(folder: Path, program: Path, certificate: Path) -> Iterator[Server]:
    """Run Redis with TLS on its only port."""
    prepared = valkey.prepare(folder, durable=False, program=program)
    file = _own(certificate, folder / "server.pem")
    words = (
        *("--port", "0", "--tls-port", str(prepared.port)),
        *("--tls-cert-file", str(file), "--tls-key-file", str(file)),
        *("--tls-ca-cert-file", str(file), "--tls-auth-clients", "no"),
    )
    ready = lambda: port_is_open(prepared.port)  # noqa: E731
    with _running(replace(_add(prepared, *words), ready=ready)) as server:
        yield server


def _add(program: ServerProgram, *words: str) -> ServerProgram:
    command = program.command
    return replace(program, command=replace(command, argv=(*command.argv, *words)))


@contextmanager
def _running(program: ServerProgram) -> Iterator[Server]:
    server = start(program)
    try:
        yield server
    finally:
        server.stop()


def _own(certificate: Path, file: Path) -> Path:
    """Copy certificate and key for the account that runs the server."""
    shutil.copyfile(certificate, file)
    file.chmod(0o600)
    if account := processes.server_account():
        os.chown(file, account.uid, account.gid)
    return file


def count_encrypted(server: Server) -> int:
    """Return how many sessions of a PostgreSQL were encrypted."""
    return server.service.command.log.read_text().count(ENCRYPTED)


def url_of(server: Server, **changes: str) -> str:
    """Return the URL by host name, which certificates have, with other parts."""
    parts = urlsplit(server.url)
    address = parts.netloc.replace("127.0.0.1", "localhost")
    return parts._replace(netloc=address, **changes).geturl()
