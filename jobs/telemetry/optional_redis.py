"""A Redis that may be away: nobody waits for it long, and not again for a while."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.5
# After a failure nobody asks for this long; then one does, and the others after it.
PAUSE_SECONDS = 5.0

Answer = TypeVar("Answer")


class RedisUnavailable(Exception):
    """Redis did not answer, now or a moment ago."""


class OptionalRedis:
    """A client for what can be done without; shared by the threads of a process."""

    def __init__(
        self, url: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # One more try on a dead link of the pool, at once; the default waits seconds.
        once_more: Retry = Retry(
            NoBackoff(), 1, supported_errors=(redis.ConnectionError,)
        )
        self.client: redis.Redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=once_more,
        )
        self._clock = clock
        self._is_away = False
        self._ask_again_at = 0.0

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """Return the answer; raises RedisAway, mostly at once."""
        if self._is_away:
            now = self._clock()
            if now < self._ask_again_at:
                raise RedisUnavailable
            self._ask_again_at = now + PAUSE_SECONDS  # this one tries for all
        try:
            answer = question()
        except redis.RedisError as error:
            if not self._is_away:
                logger.warning("redis away", extra={"error": type(error).__name__})
            self._ask_again_at = self._clock() + PAUSE_SECONDS
            self._is_away = True
            raise RedisUnavailable from error
        if self._is_away:
            logger.warning("redis back")
            self._is_away = False
        return answer
