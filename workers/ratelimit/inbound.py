"""How many requests somebody may send a minute; counted in Redis for all processes.

The windows are those of the library ``limits`` (fixed, from the first request on), all
of a request's taken in one round trip by ``inbound.lua``. While Redis is away each
process counts for itself: a request never fails for want of a counter.
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
    """At most so many a minute: by which policy, and of whom."""

    policy: str
    who: str
    per_minute: int

    @property
    def item(self) -> RateLimitItemPerMinute:
        """The limit as the library has it."""
        return RateLimitItemPerMinute(self.per_minute)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleState:
    """What is left of one throttle, and when it is whole again."""

    throttle: ThrottlePolicy
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleResult:
    """Whether the request may pass, and how the throttles stand after it."""

    granted: bool
    standings: tuple[ThrottleState, ...] = ()

    @property
    def retry_after(self) -> int:
        """Seconds until every throttle has room again; 0 if all have."""
        spent = [each.reset_seconds for each in self.standings if each.remaining == 0]
        return max(spent, default=0)


class InboundLimiter:
    """The counters of one deployment."""

    def __init__(self, redis: OptionalRedis) -> None:
        self._redis = redis
        self._names = RedisStorage(
            "redis://", connection_pool=redis.client.connection_pool
        )
        self._script = redis.client.register_script(_SCRIPT)
        self._memory = _Memory()

    def take(self, throttles: Sequence[ThrottlePolicy]) -> ThrottleResult:
        """Take one of each throttle, or of none when one is spent."""
        if not throttles:
            return ThrottleResult(granted=True)
        try:
            return self._redis.call(lambda: self._take_shared(throttles))
        except RedisUnavailable:
            return self._memory.take(throttles)

    def _take_shared(self, throttles: Sequence[ThrottlePolicy]) -> ThrottleResult:
        granted, *counted = self._script(
            keys=[
                self._names.prefixed_key(each.item.key_for(each.policy, each.who))
                for each in throttles
            ],
            args=[WINDOW_SECONDS, *(each.per_minute for each in throttles)],
        )
        found = zip(throttles, counted[::2], counted[1::2], strict=True)
        return ThrottleResult(
            granted=granted == 1,
            standings=tuple(
                _standing(throttle, throttle.per_minute - count, left_ms / 1000)
                for throttle, count, left_ms in found
            ),
        )


class _Memory:
    """The same for one process; under one lock, for the library's own are racy."""

    def __init__(self) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._lock = threading.Lock()

    def take(self, throttles: Sequence[ThrottlePolicy]) -> ThrottleResult:
        asked = [(each.item, (each.policy, each.who)) for each in throttles]
        with self._lock:
            granted = all(self._limiter.test(item, *who) for item, who in asked)
            if granted:
                for item, who in asked:
                    self._limiter.hit(item, *who)
            stats = [self._limiter.get_window_stats(item, *who) for item, who in asked]
        now = time.time()
        return ThrottleResult(
            granted=granted,
            standings=tuple(
                _standing(throttle, left, reset_at - now)
                for throttle, (reset_at, left) in zip(throttles, stats, strict=True)
            ),
        )


def _standing(
    throttle: ThrottlePolicy, remaining: int, seconds: float
) -> ThrottleState:
    return ThrottleState(
        throttle=throttle,
        remaining=max(0, remaining),
        reset_seconds=max(1, math.ceil(seconds)),
    )


@cache
def get_inbound_limiter() -> InboundLimiter:
    """Return this process's door to the counters."""
    return InboundLimiter(OptionalRedis(settings.REDIS_URL))
