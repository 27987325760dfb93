"""Store final results before they are sent: one commit at a time, for all sessions.

Runs on the event loop: a thread would wait twice for the GIL, longest when many
sessions end at once. While the database is unavailable, results wait in memory.
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

# The rows of one commit, and of all that wait while there is no database.
BATCH_ROWS = 500
MAX_PENDING = 50_000
RETRY_SECONDS = 0.2

Names = set[tuple[Any, int]]


@dataclass(frozen=True, slots=True)
class _PendingFinal:
    final: FinalResult
    # The result: whether the session still existed.
    stored: "asyncio.Future[bool]"


class FinalsWriter:
    """The pending final results and the task that stores them, of one event loop."""

    def __init__(self) -> None:
        self._pending: deque[_PendingFinal] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._database: psycopg.AsyncConnection[Any] | None = None

    def put(self, final: FinalResult) -> "asyncio.Future[bool]":
        """Store a result; the future's result is False if the session had ended.

        Raises ServiceUnavailable when too many results wait for the database.
        """
        if len(self._pending) >= MAX_PENDING:
            raise ServiceUnavailable
        loop = asyncio.get_running_loop()
        entry = _PendingFinal(final, loop.create_future())
        self._pending.append(entry)
        if self._writing is None:
            # Outside this session's log context and trace: it serves all sessions.
            self._writing = loop.create_task(self._write(), context=Context())
        return entry.stored

    async def _write(self) -> None:
        try:
            while self._pending:
                number = min(BATCH_ROWS, len(self._pending))
                batch = [self._pending.popleft() for _ in range(number)]
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
                logger.warning(
                    "database unavailable, final results wait", extra={"n": len(finals)}
                )
                await self._disconnect()
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:  # without this task no session could end
                logger.exception("final results not stored")
                return await self._store_singly(finals)

    async def _store_singly(self, finals: Sequence[FinalResult]) -> Names:
        """Store each result alone, so that an invalid one does not block the others."""
        if len(finals) > 1:
            return set().union(*[await self._store([final]) for final in finals])
        logger.error("final result not stored", extra={"job_id": finals[0].job_id})
        return {(final.job_id, final.seq) for final in finals}

    async def _execute(self, finals: Sequence[FinalResult]) -> Names:
        if self._database is None:
            self._database = await _connect()
        cursor = await self._database.execute(*live_sessions.build_store(finals))
        return set(await cursor.fetchall())

    async def _disconnect(self) -> None:
        if self._database is not None:
            await self._database.close()
        self._database = None


async def _connect() -> psycopg.AsyncConnection[Any]:
    """Connect with Django's parameters, outside its pool, which may be exhausted."""
    params = connection.get_connection_params()
    for name in ("cursor_factory", "pool"):  # of synchronous connections
        params.pop(name, None)
    return await psycopg.AsyncConnection.connect(**params, autocommit=True)


@cache
def get_writer() -> FinalsWriter:
    """Return the process's writer."""
    return FinalsWriter()
