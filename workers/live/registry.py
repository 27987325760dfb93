"""The live sessions of this process: how many there may be, and word to all of them.

Places are taken by a request's thread; sessions live on the event loop.
"""

import asyncio
import logging
import threading
import time
from functools import cache
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from jobs import authentication
from jobs.addresses import IPAddress
from jobs.errors import ServiceUnavailable
from jobs.models import Job
from workers.heartbeat import Heartbeat
from workers.ratelimit.permits import get_permits

logger = logging.getLogger(__name__)

# When all end: how long what was said may take to be stored.
STORE_SECONDS = 5.0
SCOPE = "jobs:write"
LOOK_SECONDS = 0.05


class Endable(Protocol):
    """A session, as far as others may speak to it; from any thread."""

    @property
    def key_use(self) -> tuple[UUID, IPAddress | None]:
        """Whose key opened it, and from where."""

    def shut_down(self) -> None:
        """The process is to stop."""

    def lose(self) -> None:
        """Its job is not ours any more: canceled, or taken for abandoned."""

    def lose_key(self) -> None:
        """Its key was revoked, has expired, or may not do this any more."""


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

    def check_keys(self) -> None:
        """End the sessions whose key may not be used any more."""
        with self._lock:
            here = list(self._sessions.values())
        if not here:
            return
        uses = {session.key_use for session in here}
        usable = authentication.find_usable(uses, scope=SCOPE, now=timezone.now())
        for session in here:
            if session.key_use not in usable:
                session.lose_key()

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


class LiveHeartbeat(Heartbeat):
    """Looks after the keys of what it keeps alive, too."""

    def beat(self) -> None:
        """Renew everything once, and end what may not go on."""
        super().beat()
        try:
            get_registry().check_keys()
        except (DatabaseError, InterfaceError):
            logger.warning("keys of live sessions not checked")
            connection.close()


_making = threading.Lock()


def get_heartbeat() -> Heartbeat:
    """Return what keeps this process's live jobs; two first callers get the same."""
    with _making:
        return _make_heartbeat()


@cache
def _make_heartbeat() -> Heartbeat:
    heartbeat = LiveHeartbeat(
        queues=[], slots=0, permits=get_permits(), on_lost=get_registry().lose
    )
    heartbeat.start()
    return heartbeat
