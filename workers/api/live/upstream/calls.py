"""The consecutive Deepgram calls of a session, each recorded before it is made."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import redis
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from jobs.backoff import Failure
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job
from jobs.routing import regions
from jobs.scheduling import claims
from jobs.telemetry import tracing
from transcripts import services
from transcripts.live import sessions as live_sessions
from transcripts.live.sessions import CallFailure
from workers.api.live.registry import get_heartbeat
from workers.api.live.threads import in_thread, in_thread_to_its_end
from workers.deepgram.live import LiveCall, open_call
from workers.ratelimit.permits import get_permits

logger = logging.getLogger(__name__)

COOLDOWN_SECONDS = 1.0
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.25, 5.0
UNHEALTHY = {Failure.UNAVAILABLE, Failure.UNREACHABLE, Failure.TIMEOUT}
# Failures after which the session reconnects; others are final.
RETRYABLE = UNHEALTHY | {Failure.RATE_LIMITED}


class UpstreamCalls:
    """The job and the attempt of the current call."""

    def __init__(self, job: Job, attempt: Attempt) -> None:
        self.job, self.attempt = job, attempt
        # Options that the client has changed since.
        self.changes: Mapping[str, Any] = {}

    async def open(self) -> LiveCall:
        """Connect for the current attempt; raises UpstreamError."""
        region, tags = self.attempt.region, services.build_tags(self.job)
        try:
            with tracing.span(
                "upstream connect",
                kind=tracing.SpanRole.CLIENT,
                transcription__region=region.name,
                transcription__claim=self.job.lease_token,
            ):
                query = {**self.job.options, **self.changes}
                call = await open_call(region, query, tags=tags)
        except UpstreamError as error:
            await in_thread(_record_health, region.name, error)
            raise
        await in_thread(_record_health, region.name, None)
        return call

    async def open_next(self, broken: CallFailure) -> LiveCall | None:
        """Close the failed attempt, start the next one and connect.

        Returns None without a free permit or the database: retry. Raises
        UpstreamError, and StaleJobState if the job was taken from this process.
        """
        try:
            has_begun = await in_thread_to_its_end(self._begin_next, broken)
        except (OperationalError, InterfaceError, redis.RedisError):
            logger.warning("database unavailable, reconnect delayed")
            return None
        return await self.open() if has_begun else None

    def _begin_next(self, broken: CallFailure) -> bool:
        """Start the next attempt and renew its permit in place of the previous."""
        started = live_sessions.next_attempt(
            job=self.job,
            attempt=self.attempt,
            broken=broken,
            permits=get_permits(),
            worker=get_heartbeat().name,
            now=timezone.now(),
        )
        if started is None:
            return False
        previous, (self.job, self.attempt) = self.job, started
        get_heartbeat().remove([previous])
        get_heartbeat().add([self.job])
        return True


def choose_pause(
    tries: int, error: UpstreamError, *, uniform: Callable[[float, float], float]
) -> float:
    """Return the seconds before the next try: 0 at first, then exponential. Pure."""
    if not tries and error.failure != Failure.UNREACHABLE:
        return 0.0
    longest = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**tries)
    return uniform(longest / 2, longest)


def _record_health(region: str, error: UpstreamError | None) -> None:
    """Update the region's circuit breaker, cooldown and pause."""
    permits = get_permits()
    if error is not None and error.failure == Failure.ACCOUNT:
        try:
            regions.pause_region(name=region, reason=error.code, now=timezone.now())
        except (OperationalError, InterfaceError):
            logger.warning("database unavailable, region not paused")
    if error is not None and error.failure == Failure.RATE_LIMITED:
        wait = error.retry_after or COOLDOWN_SECONDS
        permits.cool_down(region, seconds=wait, kind=claims.PermitKind.STREAM)
    permits.breaker.record(region, well=not (error and error.failure in UNHEALTHY))
