"""A migration that does not get a lock gives way to the requests behind it."""

import os
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.python_process import run_python

DATABASE = "migration_locks"
LIMIT_SECONDS = 0.5


@pytest.fixture
def database_url() -> Iterator[str]:
    """A database that has only Django's table of migrations."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    with psycopg.connect(parts.geturl(), autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE}".encode())
        server.execute(f"CREATE DATABASE {DATABASE}".encode())
        url = parts._replace(path=f"/{DATABASE}").geturl()
        with psycopg.connect(url) as connection:
            connection.execute(
                "CREATE TABLE django_migrations"
                " (id bigint, app text, name text, applied timestamptz)"
            )
        yield url
        server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())


def test_migrate_fails_in_time_and_says_what_to_do(database_url):
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "MIGRATION_LOCK_SECONDS": str(LIMIT_SECONDS),
    }
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()

        ended = run_python(("manage.py", "migrate"), environment=environment)

        waited = time.monotonic() - began
        tables = holder.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone()

    assert ended.returncode == 1
    assert waited > LIMIT_SECONDS
    assert "migrate waited 0.5 s (MIGRATION_LOCK_SECONDS) for a lock" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert tables == (1,)  # nothing was migrated
