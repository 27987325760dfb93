"""How long PostgreSQL may work for a statement, other than the process's own limit."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled


@contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """Run the block in a transaction whose statements may take so long each."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [as_setting(seconds)]
        )
        yield


def as_setting(seconds: float) -> str:
    """Return the value of ``statement_timeout``."""
    return f"{round(seconds * 1000)}ms"


def is_timeout(error: OperationalError) -> bool:
    """Tell whether PostgreSQL canceled the statement because it took too long."""
    return isinstance(error.__cause__, QueryCanceled)
