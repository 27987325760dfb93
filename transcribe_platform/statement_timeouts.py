"""Set PostgreSQL's ``statement_timeout`` and ``lock_timeout`` by type of process.

It is set when the pool opens a connection, without a round trip per request. Management
commands and the separate connections of direct calls have no limit. A statement above
the limit is canceled; a request then returns 503.
``jobs.concurrency.statement_limits`` sets other limits for single queries.
"""

import logging
from typing import Any, ClassVar, Self

import psycopg
from django.db import connections

logger = logging.getLogger(__name__)


def limit_statements(seconds: float) -> None:
    """Limit the statements of this process; call it before a connection is opened.

    0 means no limit. The ``options`` of DATABASE_URL have priority. Behind a pooler
    that rejects startup options only the role's own limit applies.
    """
    _set_option("statement_timeout", seconds)


def limit_locks(seconds: float) -> None:
    """Limit how long a migration waits for a lock, while all others wait behind it."""
    _set_option("lock_timeout", seconds)


def _set_option(name: str, seconds: float) -> None:
    if not seconds:
        return
    LimitedConnection.options = f"-c {name}={round(seconds * 1000)}"
    options = connections.settings["default"]["OPTIONS"]
    options["pool"] = {**options["pool"], "connection_class": LimitedConnection}


class LimitedConnection(psycopg.Connection[Any]):
    """A connection with startup options, until a pooler rejects them."""

    options: ClassVar[str | None] = None

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:
        """Connect; after the first rejection, log it and omit the options."""
        options = LimitedConnection.options
        both = " ".join(filter(None, (options, kwargs.get("options"))))
        try:
            return super().connect(conninfo, **{**kwargs, "options": both or None})
        except psycopg.OperationalError as error:
            # PgBouncer's text, because a rejected startup has no SQLSTATE.
            if options is None or "startup parameter" not in str(error):
                raise
        LimitedConnection.options = None
        logger.warning(
            "the connection pooler rejects options, so statements and locks have no"
            " time limit: set statement_timeout for the role"
        )
        return super().connect(conninfo, **kwargs)
