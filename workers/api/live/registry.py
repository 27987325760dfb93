"""The live sessions of this process: how many there may be, and word to all of them.

Places are taken by a request's thread; sessions live on the event loop.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from functools import cache
from typing import Protocol
from uuid import UUID

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from jobs.accounts import authentication
from jobs.egress.addresses import IPAddress
from jobs.errors import ServiceUnavailable
from jobs.models import Job, Tenant
from jobs.scheduling import claims
from workers.liveness.heartbeat import Heartbeat
from workers.ratelimit.permits import get_permits

logger = logging.getLogger(__name__)

# When all end: how long what was said may take to be stored.
STORE_SECONDS = 5.0
SCOPE = "jobs:write"
LOOK_SECONDS = 0.05
# For how long a refusal counts: callers come again after a Retry-After of 5 s.
REFUSED_SECONDS = 15.0


class RegisteredSession(Protocol):
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

    @property
    def place(self) -> tuple[str, UUID]:
        """The region that its call is in, and its tenant."""

    def silent_for(self, now: float) -> float:
        """Return for how many seconds no audio came."""

    def yield_place(self, seconds: float) -> None:
        """End it: it had no audio for so long, and other callers need the place."""


class SessionRegistry:
    """Who is here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: Counter[UUID] = Counter()
        self._sessions: dict[UUID, RegisteredSession] = {}
        # Tenants that this process refused because it was full, and until when.
        self._refused: dict[UUID, float] = {}
        self._is_shut = False

    def take_place(self, tenant: Tenant) -> None:
        """Count one more; raise ServiceUnavailable when there is no room for it.

        A tenant may hold half of a process, or more if its ``max_in_flight`` is more.
        """
        most = settings.LIVE_SESSIONS_MAX
        half = claims.compute_stream_share(most, max_in_flight=None)
        share = max(half, tenant.max_in_flight or 0)
        with self._lock:
            is_full = self._is_shut or self._places.total() >= most
            if is_full or self._places[tenant.pk] >= share:
                if is_full:
                    self._refused[tenant.pk] = time.monotonic() + REFUSED_SECONDS
                message = "This process serves no more live sessions now."
                raise ServiceUnavailable(message, code="live_sessions_full")
            self._places[tenant.pk] += 1

    def leave(self, tenant_id: UUID, job_id: UUID | None = None) -> None:
        """Count one less."""
        with self._lock:
            self._places[tenant_id] -= 1
            if not self._places[tenant_id]:
                del self._places[tenant_id]
            if job_id:
                self._sessions.pop(job_id, None)

    def enter(self, job_id: UUID, session: RegisteredSession) -> None:
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

    def yield_places(self) -> None:
        """End sessions without audio while callers of other tenants are refused.

        Raises redis.RedisError.
        """
        seconds, now = settings.LIVE_KEEPALIVE_CONTENDED_SECONDS, time.monotonic()
        with self._lock:
            here = list(self._sessions.values())
            self._refused = {who: at for who, at in self._refused.items() if at > now}
            refused = set(self._refused)
        silent = [each for each in here if each.silent_for(now) > seconds]
        waiting = {
            region: get_permits().find_refused(region) | refused
            for region in {each.place[0] for each in silent}
        }
        for session in silent:
            region, tenant_id = session.place
            if waiting.get(region, refused) - {tenant_id}:
                session.yield_place(seconds)

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
        return self._places.total()


@cache
def get_registry() -> SessionRegistry:
    """Return this process's."""
    return SessionRegistry()


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
        try:
            get_registry().yield_places()
        except redis.RedisError:
            logger.warning("ledger away, sessions without audio stay")


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
