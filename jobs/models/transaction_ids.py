"""The transaction that wrote a row, as PostgreSQL counts them (``xid8``).

Ids are made before a commit and rows are seen after it, so no id tells what a reader
has seen. A transaction's number does: below ``pg_snapshot_xmin`` all are decided.
"""

from typing import Any

from django.db import models


class TransactionIdField(models.BigIntegerField):  # type: ignore[type-arg]  # at run time no generic
    """Written by the column's default alone; 64 bits, so it never comes round again.

    The default, ``pg_current_xact_id()``, is in the migration.
    """

    # No INSERT of Django's names it, so a bulk one stays as fast as it was.
    generated = True

    def db_type(self, connection: Any) -> str:  # noqa: ARG002
        """Return the column's type."""
        return "xid8"

    def from_db_value(self, value: Any, *_context: Any) -> int | None:
        """Return what PostgreSQL sends as text."""
        return None if value is None else int(value)
