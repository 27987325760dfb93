"""Store finals before they are told: one commit at a time, for all who wait.

On the event loop itself: a thread would wait for its turn twice, longest when all end
at once. While the database is away they are kept here, and stored when it is back.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import cache
from typing import Any

import psycopg
from django.db import connection

from jobs.errors import ServiceUnavailable
from transcripts.live import sessions as live_sessions
from transcripts.live.sessions import FinalResult

logger = logging.getLogger(__name__)

# All that one commit takes, and all that is kept while there is no database.
BATCH_ROWS = 500
MAX_WAITING = 50_000
AGAIN_SECONDS = 0.2

Names = set[tuple[Any, int]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    final: FinalResult
    # Whether its session still is one.
    stored: "asyncio.Future[bool]"


class FinalsWriter:
    """The finals that wait, and the task that stores them. For one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._database: psycopg.AsyncConnection[Any] | None = None

    def put(self, final: FinalResult) -> "asyncio.Future[bool]":
        """Have it stored; the answer is false when its session has ended by then.

        Raises ServiceUnavailable when too many wait for a database that is away.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise ServiceUnavailable
        loop = asyncio.get_running_loop()
        entry = _Waiting(final, loop.create_future())
        self._waiting.append(entry)
        if self._writing is None:
            # Not in this session's log lines and trace: it works for all.
            self._writing = loop.create_task(self._write(), context=Context())
        return entry.stored

    async def _write(self) -> None:
        try:
            while self._waiting:
                number = min(BATCH_ROWS, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(number)]
                stored = await self._store([entry.final for entry in batch])
                for entry in batch:
                    if not entry.stored.done():
                        name = (entry.final.job_id, entry.final.seq)
                        entry.stored.set_result(name in stored)
        finally:
            self._writing = None

    async def _store(self, finals: Sequence[FinalResult]) -> Names:
        while True:
            try:
                return await self._execute(finals)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                logger.warning("database away, finals held", extra={"n": len(finals)})
                await self._hang_up()
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:  # without this task no session would ever end
                logger.exception("finals cannot be stored")
                return await self._store_singly(finals)

    async def _store_singly(self, finals: Sequence[FinalResult]) -> Names:
        """Store what can be: one that cannot must not cost the others."""
        if len(finals) > 1:
            return set().union(*[await self._store([final]) for final in finals])
        logger.error("a final cannot be stored", extra={"job_id": finals[0].job_id})
        return {(final.job_id, final.seq) for final in finals}

    async def _execute(self, finals: Sequence[FinalResult]) -> Names:
        if self._database is None:
            self._database = await _connect()
        cursor = await self._database.execute(*live_sessions.build_store(finals))
        return set(await cursor.fetchall())

    async def _hang_up(self) -> None:
        if self._database is not None:
            await self._database.close()
        self._database = None


async def _connect() -> psycopg.AsyncConnection[Any]:
    """Connect as Django does, but outside of its pool: that may be empty."""
    given = connection.get_connection_params()
    for name in ("cursor_factory", "pool"):  # of connections that block
        given.pop(name, None)
    return await psycopg.AsyncConnection.connect(**given, autocommit=True)


@cache
def get_writer() -> FinalsWriter:
    """Return this process's writer."""
    return FinalsWriter()
