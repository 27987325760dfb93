"""Override PostgreSQL's ``statement_timeout`` for a block."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled


@contextmanager
def limit_statements(seconds: float) -> Iterator[None]:
    """Run the block in a transaction with this timeout for each statement."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [as_setting(seconds)]
        )
        yield


def as_setting(seconds: float) -> str:
    """Return the value of ``statement_timeout``."""
    return f"{round(seconds * 1000)}ms"


def is_timeout(error: OperationalError) -> bool:
    """Return whether PostgreSQL canceled the statement at its timeout."""
    return isinstance(error.__cause__, QueryCanceled)
