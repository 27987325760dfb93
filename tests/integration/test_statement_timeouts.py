"""How long PostgreSQL works for a web process, and what callers are told past it."""

import os
import socket
import struct
from threading import Thread

import psycopg
import pytest
from django.db import OperationalError, connection, connections

from jobs.concurrency import statement_limits
from jobs.quotas import usage
from tests.support.factories import make_key, make_tenant
from tests.support.python_process import run_python
from transcribe_platform import statement_timeouts
from transcribe_platform.statement_timeouts import LimitedConnection

SHOW = """
import django
from django.db import connection
{start}
django.setup()
with connection.cursor() as cursor:
    cursor.execute("SHOW statement_timeout")
    print(cursor.fetchone()[0])
connection.close_pool()
"""

WORKER = "from transcribe_platform.celery import signals"


@pytest.mark.parametrize(
    ("start", "seconds", "expected"),
    [
        ("import transcribe_platform.wsgi", "10", "10s"),
        ("import transcribe_platform.asgi", "2.5", "2500ms"),
        ("import transcribe_platform.wsgi", "0", "0"),
        (f"{WORKER}; signals.worker_init.send(None)", "10", "10min"),
        (f"{WORKER}; signals.beat_init.send(None)", "10", "10min"),
        ("", "10", "0"),
    ],
    ids=["web", "live", "no limit", "worker", "beat", "command"],
)
def test_each_type_of_process_has_its_limit(start, seconds, expected):
    ended = run_python(
        ["-c", SHOW.format(start=start)],
        environment={**os.environ, "WEB_STATEMENT_SECONDS": seconds},
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == expected


def test_no_option_of_other_connections_is_changed(monkeypatch):
    options = connections.settings["default"]["OPTIONS"]
    monkeypatch.setitem(options, "pool", dict(options["pool"]))
    monkeypatch.setattr(LimitedConnection, "options", None)

    statement_timeouts.limit_statements(10)

    assert options["pool"]["connection_class"] is LimitedConnection
    assert "options" not in connection.get_connection_params()


class Pooler:
    """Answers each start of a connection with an error, and keeps what it was sent."""

    def __init__(self, *messages: str) -> None:
        self.started: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = Thread(target=self._serve, args=(messages,))
        self._thread.start()

    def _serve(self, messages: tuple[str, ...]) -> None:
        for message in messages:
            client, _ = self._server.accept()
            with client:
                (length,) = struct.unpack(">I", client.recv(4))
                self.started.append(client.recv(length - 4))
                fields = b"SFATAL\0C08P01\0M" + message.encode() + b"\0\0"
                client.sendall(b"E" + struct.pack(">I", 4 + len(fields)) + fields)

    def close(self) -> None:
        self._thread.join(5)
        self._server.close()


def test_a_pooler_that_refuses_options_is_used_without_them(monkeypatch, caplog):
    refusal = "unsupported startup parameter in options: statement_timeout"
    pooler = Pooler(refusal, "no such database", "no such database")
    monkeypatch.setattr(LimitedConnection, "options", "-c statement_timeout=10000")
    address = {
        "host": "127.0.0.1",
        "port": pooler.port,
        "sslmode": "disable",
        "gssencmode": "disable",
    }

    for _ in range(2):
        with pytest.raises(psycopg.OperationalError, match="no such database"):
            LimitedConnection.connect(**address)
    pooler.close()

    sent = [b"statement_timeout" in each for each in pooler.started]
    assert sent == [True, False, False]
    (record,) = caplog.records
    assert "rejects options" in record.message


def shown() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        return cursor.fetchone()[0]


@pytest.mark.django_db
def test_a_block_has_a_limit_of_its_own():
    before = shown()

    with (
        pytest.raises(OperationalError) as caught,
        statement_limits.limit_statements(0.01),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(30)")

    assert statement_limits.is_timeout(caught.value)
    assert shown() == before != "10ms"


@pytest.mark.django_db
def test_a_statement_that_takes_too_long_is_answered_later(client, monkeypatch):
    def sum_up(*_args):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")

    monkeypatch.setattr(usage, "STATEMENT_SECONDS", 0.01)
    monkeypatch.setattr(usage, "_sum_up", sum_up)
    client.raise_request_exception = False
    _, key = make_key(make_tenant())

    answer = client.get("/v1/usage", headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == 503
    assert answer.json()["code"] == "service_unavailable"
    assert answer.headers["Retry-After"] == "5"
