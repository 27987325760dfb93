"""A circuit breaker per region, shared by all processes through Redis.

Opens when half of ten or more calls of the last 30 s failed. After 1 s (doubling to
10 s) it allows one trial call at a time; the first success closes it. The rules are in
``breaker.lua``.
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("breaker.lua").read_text()
NO_LIMIT = sys.maxsize


class CircuitBreaker:
    """The breakers of all regions."""

    def __init__(
        self, client: "redis.Redis", *, own: "Mapping[str, redis.Redis] | None" = None
    ) -> None:
        self._script = client.register_script(_SCRIPT)
        self._client = client
        self._own = own or {}

    def allow(self, region: str) -> int:
        """Return how many calls may start now; reserves the trial when open.

        Raises redis.RedisError.
        """
        allowed = int(self._call(region, "allow"))
        return NO_LIMIT if allowed < 0 else allowed

    def record(self, region: str, *, well: bool) -> None:
        """Record the outcome of a call; dropped without Redis."""
        try:
            self._call(region, "good" if well else "bad", uuid4().hex)
        except redis.RedisError:
            logger.debug("outcome not recorded")

    def read_state(self, region: str) -> str:
        """Return "closed", "open" or "trying" without reserving a trial.

        Raises redis.RedisError.
        """
        client = self._own.get(region, self._client)
        until = client.hget(f"breaker:{{{region}}}:state", "open_until")
        if until is None:
            return "closed"
        return "open" if float(until) > read_clock_ms(client) else "trying"

    def _call(self, region: str, *args: str) -> Any:
        base = f"breaker:{{{region}}}"
        return self._script(
            keys=[f"{base}:state", f"{base}:bad", f"{base}:good"],
            args=args,
            client=self._own.get(region, self._client),
        )


def read_clock_ms(client: "redis.Redis") -> int:
    """Return the server's time, which the scripts use. Raises redis.RedisError."""
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds // 1000
