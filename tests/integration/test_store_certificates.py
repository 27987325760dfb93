"""PostgreSQL and Redis over TLS: which certificates are accepted, which reason given."""

import os
import re
import shutil
import socket
import ssl
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import SplitResult, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from django.conf import settings

from tests.support import tls_servers
from tests.support.certificates import Authority, new_authority
from tests.support.python_process import run_python
from workers.embedded.binaries import scratch_folder

# https://www.postgresql.org/docs/current/protocol-message-formats.html
SSL_REQUEST = struct.pack(">ii", 8, 80877103)
START = """
import transcribe_platform.wsgi
from django.db import connection
connection.ensure_connection()
connection.close_pool()
print("connected")
"""
CASES = ["valid", "expired", "other-host", "other-ca"]
REASONS = {
    "expired": "certificate has expired|certificate verify failed",
    "other-host": "does not match host name|Hostname mismatch",
    "other-ca": "certificate verify failed",
}


class TlsFront:
    """Accepts TLS on a port and passes the bytes to a server without it.

    A greeting is what clients send before TLS, and what they get.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        to: SplitResult,
        greeting: tuple[bytes, bytes] = (b"", b""),
    ) -> None:
        self.encrypted = 0  # sessions
        self._context = context
        self._target = (to.hostname or "", to.port or 0)
        self._greeting = greeting
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._server.accept()
                Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        request, response = self._greeting
        with suppress(OSError), plain:
            if request:
                assert plain.recv(len(request)) == request
                plain.sendall(response)
            client = self._context.wrap_socket(plain, server_side=True)
            with client, socket.create_connection(self._target) as server:
                back = Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                # In TLS 1.3 a client rejects the certificate after the handshake.
                if first := client.recv(65536):
                    self.encrypted += 1
                    server.sendall(first)
                    _pump(client, server)
                back.join(10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def write_ca(authority: Authority, path: Path) -> Path:
    path.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    return path


pytestmark = pytest.mark.xdist_group("certificates")


@pytest.fixture(scope="module", params=CASES)
def tls(request, tmp_path_factory) -> tuple[str, ssl.SSLContext, Path, Path]:
    """The case, the server's context and certificate, and whom clients trust."""
    folder = tmp_path_factory.mktemp("tls")
    authority = new_authority(folder)
    other = new_authority(folder, name="another authority")
    trusted = other if request.param == "other-ca" else authority
    name = "elsewhere" if request.param == "other-host" else "localhost"
    context = authority.server(
        name, ended_days_ago=1 if request.param == "expired" else -1
    )
    ca = write_ca(trusted, folder / "ca.pem")
    return request.param, context, folder / f"{name}.pem", ca


def check(case: str, environment: dict[str, str], words: list[str]) -> str:
    ended = run_python(words, environment={**os.environ, **environment})
    assert (ended.returncode == 0) == (case == "valid"), ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def secure_postgres(tls) -> Iterator[tuple[Callable[[], int], str]]:
    """The number of encrypted sessions, and the URL, of a PostgreSQL with TLS."""
    _, context, certificate, ca = tls
    query = f"sslmode=verify-full&sslrootcert={ca}"
    if programs := tls_servers.find_postgres():
        with (
            scratch() as folder,
            tls_servers.postgres_with_tls(folder, programs, certificate) as server,
        ):
            own = tls_servers.count_encrypted(server)  # of the check that it is up
            url = tls_servers.url_of(server, query=query)
            yield lambda: tls_servers.count_encrypted(server) - own, url
        return
    warnings.warn("no PostgreSQL with TLS: a proxy stands in for it", stacklevel=1)
    parts = urlsplit(os.environ["DATABASE_URL"])
    front = TlsFront(context, to=parts, greeting=(SSL_REQUEST, b"S"))
    address = f"{parts.username}:{parts.password}@localhost:{front.port}"
    url = parts._replace(netloc=address, query=query).geturl()
    yield lambda: front.encrypted, url
    front.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder that the account of the servers can enter."""
    folder = scratch_folder("transcribe-tls-")
    yield folder / "server"
    shutil.rmtree(folder, ignore_errors=True)


def test_a_database_with_verify_full_is_encrypted_or_the_start_states_why(
    tls, secure_postgres
):
    case, *_ = tls
    count_encrypted, url = secure_postgres

    said = check(case, {"DATABASE_URL": url}, ["-c", START])

    last = said.strip().splitlines()[-1]
    assert bool(count_encrypted()) == (case == "valid")
    if case == "valid":
        assert last == "connected"
        return
    assert "ImproperlyConfigured: DATABASE_URL: " in last
    assert re.search(REASONS[case], last)
    assert "Traceback" in said
    assert urlsplit(url).password not in said


def test_a_command_states_why_it_cannot_connect(tls, secure_postgres):
    case, *_ = tls
    _, url = secure_postgres

    # A command that needs no routes: loading them takes a second.
    said = check(case, {"DATABASE_URL": url}, ["manage.py", "inspectdb", "jobs_job"])

    last = said.strip().splitlines()[-1]
    assert case == "valid" or re.search(REASONS[case], last)
    assert "Traceback" not in said


def test_a_server_without_tls_is_not_used_with_verify_full():
    url = os.environ["DATABASE_URL"] + "?sslmode=verify-full"

    said = check("no-tls", {"DATABASE_URL": url}, ["-c", START])

    assert "server does not support SSL, but SSL was required" in said


@pytest.fixture(scope="module")
def secure_redis(tls) -> Iterator[str]:
    """The URL of a Redis with TLS."""
    _, context, certificate, ca = tls
    changes = {"scheme": "rediss", "query": f"ssl_ca_certs={ca}"}
    if program := tls_servers.find_redis():
        with (
            scratch() as folder,
            tls_servers.redis_with_tls(folder, program, certificate) as server,
        ):
            yield tls_servers.url_of(server, **changes)
        return
    warnings.warn("no Redis with TLS: a proxy stands in for it", stacklevel=1)
    parts = urlsplit(settings.REDIS_URL)
    front = TlsFront(context, to=parts)
    address = f":{parts.password}@localhost:{front.port}"
    yield parts._replace(netloc=address, **changes).geturl()
    front.close()


BROKER = """
from transcribe_platform.celery import app
with app.connection_for_write() as broker:
    broker.default_channel.client.ping()
from flower.utils.broker import Broker
import asyncio
client = Broker(app.conf.broker_url, broker_use_ssl=app.conf.broker_use_ssl).redis
asyncio.run(client.ping())
print("pinged")
"""


def test_a_redis_with_tls_is_verified_by_the_broker_and_flower(tls, secure_redis):
    case, *_ = tls

    said = check(case, {"REDIS_URL": secure_redis}, ["-c", BROKER])

    assert ("pinged" in said) == (case == "valid")
    assert case == "valid" or "CERTIFICATE_VERIFY_FAILED" in said


@pytest.mark.parametrize("tls", CASES[1:], indirect=True)
def test_a_worker_does_not_start_with_an_invalid_certificate(tls, secure_redis):
    case, *_ = tls

    said = check(
        case,
        {"REDIS_URL": secure_redis},
        [
            *("-m", "celery", "-A", "transcribe_platform.celery"),
            *("worker", "-P", "solo"),
        ],
    )

    assert "REDIS_URL: " in said
    assert "certificate verify failed" in said
