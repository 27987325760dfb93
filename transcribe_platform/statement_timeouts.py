"""Set PostgreSQL's ``statement_timeout`` for web processes.

It is set when the pool opens a connection, without a round trip per request. Workers,
the dispatcher, migrations and the separate connections of direct calls have no limit. A
statement above the limit is canceled and the request returns 503.
``jobs.concurrency.statement_limits`` sets other limits for single queries.
"""

import logging
from typing import Any, ClassVar, Self

import psycopg
from django.conf import settings
from django.db import connections

logger = logging.getLogger(__name__)


def limit_statements() -> None:
    """Limit the statements of this process; call it before a connection is opened.

    Behind a pooler that rejects startup options only the role's own limit applies.
    """
    seconds = settings.WEB_STATEMENT_SECONDS
    if not seconds:
        return
    LimitedConnection.options = f"-c statement_timeout={round(seconds * 1000)}"
    options = connections.settings["default"]["OPTIONS"]
    options["pool"] = {**options["pool"], "connection_class": LimitedConnection}


class LimitedConnection(psycopg.Connection[Any]):
    """A connection with startup options, until a pooler rejects them."""

    options: ClassVar[str | None] = None

    @classmethod
    def connect(cls, conninfo: str = "", **kwargs: Any) -> Self:
        """Connect; after the first rejection, log it and omit the options."""
        options = LimitedConnection.options
        try:
            return super().connect(conninfo, **{**kwargs, "options": options})
        except psycopg.OperationalError as error:
            # PgBouncer's text, because a rejected startup has no SQLSTATE.
            if options is None or "startup parameter" not in str(error):
                raise
        LimitedConnection.options = None
        logger.warning(
            "the connection pooler rejects options, so statements have no time limit:"
            " set statement_timeout for the role"
        )
        return super().connect(conninfo, **kwargs)
