"""Limit how long PostgreSQL works for one statement of a web process.

Set when a connection of the pool is opened, so it costs no request a round trip.
Workers, the dispatcher and migrations have no such limit, and neither have connections
of their own that web processes keep for calls under way. A statement past it is
canceled, and the request answers 503. What may take longer asks for it
(``jobs.concurrency.statement_limits``).
"""

import logging
from typing import Any, ClassVar, Self

import psycopg
from django.conf import settings
from django.db import connections

logger = logging.getLogger(__name__)


def limit_statements() -> None:
    """Limit each statement of this process; to be called before it opens a connection.

    Behind a pooler that refuses options only the role's own limit holds.
    """
    seconds = settings.WEB_STATEMENT_SECONDS
    if not seconds:
        return
    LimitedConnection.options = f"-c statement_timeout={round(seconds * 1000)}"
    options = connections.settings["default"]["OPTIONS"]
    options["pool"] = {**options["pool"], "connection_class": LimitedConnection}


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that is opened with options, until a pooler refuses those."""

    options: ClassVar[str | None] = None

    @classmethod
    def connect(cls, conninfo: str = "", **more: Any) -> Self:
        """Connect; the first refusal of the options is logged and remembered."""
        options = LimitedConnection.options
        try:
            return super().connect(conninfo, **{**more, "options": options})
        except psycopg.OperationalError as error:
            # By PgBouncer's words, because a refused start carries no SQLSTATE.
            if options is None or "startup parameter" not in str(error):
                raise
        LimitedConnection.options = None
        logger.warning(
            "the connection pooler refuses options, so statements have no time limit:"
            " set statement_timeout for the role"
        )
        return super().connect(conninfo, **more)
