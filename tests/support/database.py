"""Look at the test's database from beside it."""

from typing import Any

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
