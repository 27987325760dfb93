"""The id of the transaction that inserted a row (PostgreSQL's ``xid8``).

Rows become visible in the order of commits, not of their ids, so an id cannot mark a
reader's position. A transaction id can: all below ``pg_snapshot_xmin`` have ended.
"""

from typing import Any

from django.db import models


class TransactionIdField(models.BigIntegerField):  # type: ignore[type-arg]  # at run time no generic
    """Set only by the column's default, ``pg_current_xact_id()`` (in the migration).

    64 bits, so it never wraps around.
    """

    # Excludes the column from Django's INSERTs.
    generated = True

    def db_type(self, connection: Any) -> str:  # noqa: ARG002
        """Return the column's type."""
        return "xid8"

    def from_db_value(self, value: Any, *_context: Any) -> int | None:
        """Parse the value, which PostgreSQL sends as text."""
        return None if value is None else int(value)
