"""Store finals before they are told: one thread a process, one commit for all who wait.

While the database is away they are kept here, and stored when it is back.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import cache

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from jobs.errors import ServiceUnavailable
from transcripts import live
from transcripts.live import Final
from workers.heartbeat import leave_pool

logger = logging.getLogger(__name__)

# All that one commit takes, and all that is kept while there is no database.
BATCH_ROWS = 500
MAX_WAITING = 50_000
AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Waiting:
    final: Final
    loop: asyncio.AbstractEventLoop
    # Whether its session still is one.
    stored: "asyncio.Future[bool]"


class FinalsWriter:
    """The finals that wait, and the thread that stores them."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._woken = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, final: Final) -> "asyncio.Future[bool]":
        """Have it stored; the answer is false when its session has ended by then.

        Raises ServiceUnavailable when too many wait for a database that is away.
        """
        loop = asyncio.get_running_loop()
        entry = _Waiting(final, loop, loop.create_future())
        with self._woken:
            if len(self._waiting) >= MAX_WAITING:
                raise ServiceUnavailable
            self._waiting.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="finals", daemon=True
                )
                self._thread.start()
            self._woken.notify()
        return entry.stored

    def _run(self) -> None:
        leave_pool()
        while True:
            with self._woken:
                while not self._waiting:
                    self._woken.wait()
                batch = [
                    self._waiting.popleft()
                    for _ in range(min(BATCH_ROWS, len(self._waiting)))
                ]
            _settle(batch, self._store([entry.final for entry in batch]))

    def _store(self, finals: list[Final]) -> set[tuple[object, int]]:
        while True:
            try:
                return set(live.store_finals(finals))
            except (OperationalError, InterfaceError):
                logger.warning("database away, finals held", extra={"n": len(finals)})
                connection.close()
                time.sleep(AGAIN_SECONDS)
            except DatabaseError:
                return self._store_singly(finals)
            except Exception:  # without this thread no session would ever end
                logger.exception("finals cannot be stored")
                return self._store_singly(finals)

    def _store_singly(self, finals: list[Final]) -> set[tuple[object, int]]:
        """Store what can be: one that cannot must not cost the others."""
        if len(finals) > 1:
            return set().union(*(self._store([final]) for final in finals))
        logger.error("a final cannot be stored", extra={"job_id": finals[0].job_id})
        return {(final.job_id, final.seq) for final in finals}


def _settle(batch: list[_Waiting], stored: set[tuple[object, int]]) -> None:
    """Tell those who wait, once for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for entry in batch:
        by_loop.setdefault(entry.loop, []).append(entry)
    for loop, entries in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_answer, entries, stored)


def _answer(entries: list[_Waiting], stored: set[tuple[object, int]]) -> None:
    for entry in entries:
        if not entry.stored.done():
            entry.stored.set_result((entry.final.job_id, entry.final.seq) in stored)


@cache
def get_writer() -> FinalsWriter:
    """Return this process's writer."""
    return FinalsWriter()
