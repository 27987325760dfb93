"""The live sessions of this process: how many there may be, and word to all of them.

Places are taken by a request's thread; sessions live on the event loop.
"""

import asyncio
import threading
import time
from functools import cache
from typing import Protocol
from uuid import UUID

from django.conf import settings

from jobs.errors import ServiceUnavailable
from jobs.models import Job
from workers.heartbeat import Heartbeat
from workers.ratelimit.permits import get_permits

# When all end: how long what was said may take to be stored.
STORE_SECONDS = 5.0
LOOK_SECONDS = 0.05


class Endable(Protocol):
    """A session, as far as others may speak to it; from any thread."""

    def shut_down(self) -> None:
        """The process is to stop."""

    def lose(self) -> None:
        """Its job is not ours any more: canceled, or taken for abandoned."""


class Registry:
    """Who is here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places = 0
        self._sessions: dict[UUID, Endable] = {}
        self._is_shut = False

    def take_place(self) -> None:
        """Count one more; raises ServiceUnavailable when there is no room for it."""
        with self._lock:
            if self._is_shut or self._places >= settings.LIVE_SESSIONS_MAX:
                message = "This process serves no more live sessions now."
                raise ServiceUnavailable(message, code="live_sessions_full")
            self._places += 1

    def leave(self, job_id: UUID | None = None) -> None:
        """Count one less."""
        with self._lock:
            self._places -= 1
            if job_id:
                self._sessions.pop(job_id, None)

    def enter(self, job_id: UUID, session: Endable) -> None:
        """Make a session known; one that comes while all end is ended at once."""
        with self._lock:
            self._sessions[job_id] = session
            is_late = self._is_shut
        if is_late:
            session.shut_down()

    def lose(self, job: Job) -> None:
        """Say that a job is not ours any more."""
        with self._lock:
            session = self._sessions.get(job.pk)
        if session:
            session.lose()

    async def end_all(self) -> None:
        """End every session, and those that still come; return when all have ended."""
        with self._lock:
            self._is_shut = True
            here = list(self._sessions.values())
        for session in here:
            session.shut_down()
        seconds = settings.LIVE_SHUTDOWN_SECONDS + STORE_SECONDS
        give_up = time.monotonic() + seconds
        # Places are given back in threads, too: looked at, and not waited for.
        while len(self) and time.monotonic() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    def __len__(self) -> int:
        """Return how many places are taken."""
        return self._places


@cache
def get_registry() -> Registry:
    """Return this process's."""
    return Registry()


_making = threading.Lock()


def get_heartbeat() -> Heartbeat:
    """Return what keeps this process's live jobs; two first callers get the same."""
    with _making:
        return _make_heartbeat()


@cache
def _make_heartbeat() -> Heartbeat:
    heartbeat = Heartbeat(
        queues=[], slots=0, permits=get_permits(), on_lost=get_registry().lose
    )
    heartbeat.start()
    return heartbeat
