"""DATABASE_URL with several hosts: libpq finds the one that accepts writes."""

import os
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.servers import Server, start_postgres
from tests.support.python_process import run_python
from workers.embedded.binaries import scratch_folder

SHOW_PORT = """
import django
from django.db import connection
django.setup()
with connection.cursor() as cursor:
    cursor.execute("SHOW port")
    print(cursor.fetchone()[0])
connection.close_pool()
"""


pytestmark = pytest.mark.xdist_group("certificates")


@pytest.fixture(scope="module")
def standby() -> Iterator[Server]:
    """A read-only server with the password of the tests' own."""
    folder = scratch_folder("transcribe-standby-")
    (home := folder / "postgres").mkdir(mode=0o711)
    (home / "password").write_text(str(urlsplit(os.environ["DATABASE_URL"]).password))
    server = start_postgres(home, durable=False)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(
    ("wanted", "expected"), [("read-write", "primary"), ("read-only", "standby")]
)
def test_a_process_connects_to_the_host_that_it_needs(standby, wanted, expected):
    parts = urlsplit(os.environ["DATABASE_URL"])
    ports = {"primary": str(parts.port), "standby": str(standby.port)}
    # The first one refuses connections, as a host that is down does.
    hosts = ",".join(f"127.0.0.1:{port}" for port in ("1", *reversed(ports.values())))
    address = f"{parts.username}:{parts.password}@{hosts}"
    query = f"target_session_attrs={wanted}"
    url = parts._replace(netloc=address, path="/transcribe", query=query).geturl()

    environment = {**os.environ, "DATABASE_URL": url}
    ended = run_python(("-c", SHOW_PORT), environment=environment)

    assert ended.stdout.strip() == ports[expected]
