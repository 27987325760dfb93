"""Look at the test's database from beside it; databases for whole platforms."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.db import connection
from psycopg import conninfo


def admin_connection() -> psycopg.Connection[Any]:
    """Connect beside the test's database."""
    return psycopg.connect(database_url("postgres"), autocommit=True)


def database_url(database: str) -> str:
    settings = connection.settings_dict
    given = {
        name: str(settings[name.upper()])
        for name in ("user", "password", "host", "port")
        if settings[name.upper()]
    }
    return conninfo.make_conninfo(**given, dbname=database)


_BLOCKED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def is_a_query_blocked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_BLOCKED)
        return cursor.fetchone()[0] > 0


@contextmanager
def own_databases(*, redis_number: int) -> Iterator[dict[str, str]]:
    """Yield DATABASE_URL and REDIS_URL of databases for one platform, on the servers
    that the environment names; drop the first afterwards.
    """
    name = f"platform_{secrets.token_hex(4)}"
    url = urlsplit(os.environ["DATABASE_URL"])
    redis = urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{redis_number}")
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            yield {
                "DATABASE_URL": urlunsplit(url._replace(path=f"/{name}")),
                "REDIS_URL": urlunsplit(redis),
            }
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
