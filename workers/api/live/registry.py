"""The live sessions of this process, with their limits.

Request threads acquire slots; the sessions run on the event loop.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from functools import cache
from typing import Any, Protocol
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

# At shutdown, the time to store the last results.
STORE_SECONDS = 5.0
SCOPE = "jobs:write"
POLL_SECONDS = 0.05
# How long a rejected caller counts as waiting: Retry-After is 5 s.
REFUSED_SECONDS = 15.0


class RegisteredSession(Protocol):
    """The methods of a session that other threads may call."""

    @property
    def key_use(self) -> tuple[UUID, IPAddress | None]:
        """The API key's ID and the client's address."""

    def close_from_thread(self, name: str, **values: Any) -> None:
        """Close the session for a reason of ``close_reasons``."""

    @property
    def region_and_tenant(self) -> tuple[str, UUID]:
        """The region of the call, and the tenant's ID."""

    def silent_for(self, now: float) -> float:
        """Return the seconds since the last audio."""


class SessionRegistry:
    """The sessions and the slots they use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: Counter[UUID] = Counter()
        self._sessions: dict[UUID, RegisteredSession] = {}
        # Tenants rejected because the process was full, with the expiry.
        self._refused: dict[UUID, float] = {}
        self._is_shut_down = False

    def acquire_slot(self, tenant: Tenant) -> None:
        """Acquire a slot; raises ServiceUnavailable if none is free.

        A tenant may use half of the slots, or its ``max_in_flight`` if that is more.
        """
        most = settings.LIVE_SESSIONS_MAX
        half = claims.compute_stream_share(most, max_in_flight=None)
        share = max(half, tenant.max_in_flight or 0)
        with self._lock:
            is_full = self._is_shut_down or self._used.total() >= most
            if is_full or self._used[tenant.pk] >= share:
                if is_full:
                    self._refused[tenant.pk] = time.monotonic() + REFUSED_SECONDS
                message = (
                    "This process has no free live session. Retry in a few seconds."
                )
                raise ServiceUnavailable(message, code="live_sessions_full")
            self._used[tenant.pk] += 1

    def leave(self, tenant_id: UUID, job_id: UUID | None = None) -> None:
        """Release a slot and unregister its session."""
        with self._lock:
            self._used[tenant_id] -= 1
            if not self._used[tenant_id]:
                del self._used[tenant_id]
            if job_id:
                self._sessions.pop(job_id, None)

    def enter(self, job_id: UUID, session: RegisteredSession) -> None:
        """Register a session; after ``shut_down`` it is closed at once."""
        with self._lock:
            self._sessions[job_id] = session
            is_late = self._is_shut_down
        if is_late:
            session.close_from_thread("shutdown")

    def close_lost(self, job: Job) -> None:
        """Close the session of a job whose lease was lost."""
        with self._lock:
            session = self._sessions.get(job.pk)
        if session:
            session.close_from_thread("canceled")

    def check_keys(self) -> None:
        """Close the sessions whose key is no longer valid."""
        with self._lock:
            sessions = list(self._sessions.values())
        if not sessions:
            return
        uses = {session.key_use for session in sessions}
        usable = authentication.find_usable(uses, scope=SCOPE, now=timezone.now())
        for session in sessions:
            if session.key_use not in usable:
                session.close_from_thread("key_ended")

    def close_silent_sessions(self) -> None:
        """Close sessions without audio while other tenants' callers are rejected.

        Raises redis.RedisError.
        """
        seconds, now = settings.LIVE_KEEPALIVE_CONTENDED_SECONDS, time.monotonic()
        with self._lock:
            sessions = list(self._sessions.values())
            self._refused = {
                tenant: expiry
                for tenant, expiry in self._refused.items()
                if expiry > now
            }
            refused = set(self._refused)
        silent = [it for it in sessions if it.silent_for(now) > seconds]
        waiting = {
            region: get_permits().find_refused(region) | refused
            for region in {session.region_and_tenant[0] for session in silent}
        }
        for session in silent:
            region, tenant_id = session.region_and_tenant
            if waiting.get(region, refused) - {tenant_id}:
                session.close_from_thread("no_audio_while_others_wait", seconds=seconds)

    async def shut_down(self) -> None:
        """Close all sessions, including new ones; return when all slots are free."""
        with self._lock:
            self._is_shut_down = True
            sessions = list(self._sessions.values())
        for session in sessions:
            session.close_from_thread("shutdown")
        seconds = settings.LIVE_SHUTDOWN_SECONDS + STORE_SECONDS
        deadline = time.monotonic() + seconds
        # Polled, because threads also release slots.
        while len(self) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    def __len__(self) -> int:
        """Return the number of slots in use."""
        return self._used.total()


@cache
def get_registry() -> SessionRegistry:
    """Return the process's registry."""
    return SessionRegistry()


class LiveHeartbeat(Heartbeat):
    """A heartbeat that also checks the keys and the silence of live sessions."""

    def beat(self) -> None:
        """Renew everything once; close sessions with invalid keys or without audio."""
        super().beat()
        try:
            get_registry().check_keys()
        except (DatabaseError, InterfaceError):
            logger.warning("keys of live sessions not checked")
            connection.close()
        try:
            get_registry().close_silent_sessions()
        except redis.RedisError:
            logger.warning("redis unavailable, sessions without audio not closed")


_heartbeat_lock = threading.Lock()


def get_heartbeat() -> Heartbeat:
    """Return the process's heartbeat of live jobs, started at the first call."""
    with _heartbeat_lock:
        return _start_heartbeat()


@cache
def _start_heartbeat() -> Heartbeat:
    heartbeat = LiveHeartbeat(
        queues=[], slots=0, permits=get_permits(), on_lost=get_registry().close_lost
    )
    heartbeat.start()
    return heartbeat
