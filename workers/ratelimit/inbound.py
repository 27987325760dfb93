"""Request throttles, counted in Redis for all processes.

Fixed windows from the first request on, as in the library ``limits``; ``inbound.lua``
counts all throttles of a request in one round trip. While Redis is unavailable, each
process counts alone, so that no request fails.
"""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter

from jobs.telemetry.optional_redis import OptionalRedis, RedisUnavailable

WINDOW_SECONDS = 60
_SCRIPT = Path(__file__).with_name("inbound.lua").read_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottlePolicy:
    """A limit per minute: the policy's name and the subject that it counts."""

    policy: str
    subject: str
    per_minute: int

    @property
    def item(self) -> RateLimitItemPerMinute:
        """The limit as an object of the library."""
        return RateLimitItemPerMinute(self.per_minute)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleState:
    """The remaining requests of a throttle, and the seconds until it resets."""

    throttle: ThrottlePolicy
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleResult:
    """Whether the request is allowed, and the throttles after it."""

    granted: bool
    states: tuple[ThrottleState, ...] = ()

    @property
    def retry_after(self) -> int:
        """The seconds until all throttles have requests left; 0 if they have."""
        spent = [state.reset_seconds for state in self.states if state.remaining == 0]
        return max(spent, default=0)


class InboundLimiter:
    """The throttle counters of a deployment."""

    def __init__(self, redis: OptionalRedis) -> None:
        self._redis = redis
        self._names = RedisStorage(
            "redis://", connection_pool=redis.client.connection_pool
        )
        self._script = redis.client.register_script(_SCRIPT)
        self._local = _LocalLimiter()

    def acquire(self, throttles: Sequence[ThrottlePolicy]) -> ThrottleResult:
        """Count the request in all throttles, or in none if one is exhausted."""
        if not throttles:
            return ThrottleResult(granted=True)
        try:
            return self._redis.call(lambda: self._take_shared(throttles))
        except RedisUnavailable:
            return self._local.acquire(throttles)

    def _take_shared(self, throttles: Sequence[ThrottlePolicy]) -> ThrottleResult:
        granted, *counted = self._script(
            keys=[
                self._names.prefixed_key(each.item.key_for(each.policy, each.subject))
                for each in throttles
            ],
            args=[WINDOW_SECONDS, *(each.per_minute for each in throttles)],
        )
        found = zip(throttles, counted[::2], counted[1::2], strict=True)
        return ThrottleResult(
            granted=granted == 1,
            states=tuple(
                _build_state(throttle, throttle.per_minute - count, left_ms / 1000)
                for throttle, count, left_ms in found
            ),
        )


class _LocalLimiter:
    """The counters of one process; locked, because the library's are not atomic."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._lock = threading.Lock()

    def acquire(self, throttles: Sequence[ThrottlePolicy]) -> ThrottleResult:
        limits = [(each.item, (each.policy, each.subject)) for each in throttles]
        with self._lock:
            granted = all(
                self._limiter.test(item, *subject) for item, subject in limits
            )
            if granted:
                for item, subject in limits:
                    self._limiter.hit(item, *subject)
            stats = [
                self._limiter.get_window_stats(item, *subject)
                for item, subject in limits
            ]
        now = time.time()
        return ThrottleResult(
            granted=granted,
            states=tuple(
                _build_state(throttle, left, reset_at - now)
                for throttle, (reset_at, left) in zip(throttles, stats, strict=True)
            ),
        )


def _build_state(
    throttle: ThrottlePolicy, remaining: int, seconds: float
) -> ThrottleState:
    return ThrottleState(
        throttle=throttle,
        remaining=max(0, remaining),
        reset_seconds=max(1, math.ceil(seconds)),
    )


@cache
def get_inbound_limiter() -> InboundLimiter:
    """Return the process's limiter."""
    return InboundLimiter(OptionalRedis(settings.REDIS_URL))
