"""A session's calls, one after another: each in the ledger before it is made."""

import logging
from collections.abc import Callable

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
UNWELL = {Failure.UNAVAILABLE, Failure.UNREACHABLE, Failure.TIMEOUT}
# After these another call may do better; what else the upstream refuses, it refuses.
AGAIN = UNWELL | {Failure.RATE_LIMITED}


class UpstreamCalls:
    """The present call of a session, and how it comes to the next."""

    def __init__(self, job: Job, attempt: Attempt) -> None:
        self.job, self.attempt = job, attempt

    async def open(self) -> LiveCall:
        """Make the call that was begun; raises UpstreamError."""
        region, tags = self.attempt.region, services.tags_of(self.job)
        try:
            with tracing.span(
                "upstream connect",
                kind=tracing.SpanRole.CLIENT,
                transcription__region=region.name,
                transcription__claim=self.job.lease_token,
            ):
                call = await open_call(region, self.job.options, tags=tags)
        except UpstreamError as error:
            await in_thread(_note_health, region.name, error)
            raise
        await in_thread(_note_health, region.name, None)
        return call

    async def open_next(self, broken: CallFailure) -> LiveCall | None:
        """Close the broken call in the ledger, begin the next and make it.

        None when there is no place for it, or no database: try again. Raises
        UpstreamError, and StaleJobState when the session is not ours any more.
        """
        try:
            has_begun = await in_thread_to_its_end(self._begin_next, broken)
        except (OperationalError, InterfaceError, redis.RedisError):
            logger.warning("database away, upstream waits")
            return None
        return await self.open() if has_begun else None

    def _begin_next(self, broken: CallFailure) -> bool:
        """Begin it and hold it; whoever ends the session ends the call it has."""
        begun = live_sessions.next_attempt(
            job=self.job,
            attempt=self.attempt,
            broken=broken,
            permits=get_permits(),
            worker=get_heartbeat().name,
            now=timezone.now(),
        )
        if begun is None:
            return False
        before, (self.job, self.attempt) = self.job, begun
        get_heartbeat().remove(before)
        get_heartbeat().add(self.job)
        return True


def choose_pause(
    tries: int, error: UpstreamError, *, uniform: Callable[[float, float], float]
) -> float:
    """Return how long to wait: longer each time, and first not at all.

    Pure.
    """
    if not tries and error.failure != Failure.UNREACHABLE:
        return 0.0
    longest = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**tries)
    return uniform(longest / 2, longest)


def _note_health(region: str, error: UpstreamError | None) -> None:
    """Tell the region's limits how the upstream is."""
    permits = get_permits()
    if error is not None and error.failure == Failure.ACCOUNT:
        try:
            regions.pause_region(name=region, reason=error.code, now=timezone.now())
        except (OperationalError, InterfaceError):
            logger.warning("database away, region not paused")
    if error is not None and error.failure == Failure.RATE_LIMITED:
        wait = error.retry_after or COOLDOWN_SECONDS
        permits.cool_down(region, seconds=wait, kind=claims.PermitKind.STREAM)
    permits.breaker.record(region, well=not (error and error.failure in UNWELL))
