"""A Redis client with a circuit breaker, for features that work without Redis."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.5
# How long calls fail at once after a failure; then one call tries Redis again.
PAUSE_SECONDS = 5.0

Result = TypeVar("Result")


class RedisUnavailable(Exception):
    """Redis did not answer, now or within the last ``PAUSE_SECONDS``."""


class OptionalRedis:
    """A Redis client that fails fast; shared by the threads of a process."""

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # One immediate retry for stale connections; the default backs off for seconds.
        retry: Retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        self.client: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=retry,
        )
        self._clock = clock
        self._is_open = False
        self._retry_at = 0.0

    def call(self, command: Callable[[], Result]) -> Result:
        """Run a command and return its result; raises RedisUnavailable."""
        if self._is_open:
            now = self._clock()
            if now < self._retry_at:
                raise RedisUnavailable
            self._retry_at = now + PAUSE_SECONDS  # only this call tries Redis
        try:
            result = command()
        except redis.RedisError as error:
            if not self._is_open:
                fields = {"error": type(error).__name__}
                logger.warning("redis unavailable", extra=fields)
            self._retry_at = self._clock() + PAUSE_SECONDS
            self._is_open = True
            raise RedisUnavailable from error
        if self._is_open:
            logger.warning("redis available again")
            self._is_open = False
        return result
