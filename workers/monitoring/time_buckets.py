"""A cache of aggregates per time bucket. Past buckets are read once.

The cache is per process; a restart costs one longer read.
"""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")

# Lifetime of buckets that may still change; less than the cache of the dashboard.
RECENT_SECONDS = 15.0


class TimeBuckets(Generic[Value]):
    """One value per bucket (a minute, an hour).

    ``load`` returns the values between two times by bucket start; buckets without rows
    may be missing. A bucket read ``settled_after`` its end or later is not read again.
    """

    def __init__(
        self,
        load: Callable[[datetime, datetime], Mapping[datetime, Value]],
        *,
        step: timedelta,
        settled_after: timedelta,
    ) -> None:
        self._load = load
        self._step = step
        self._settled_after = settled_after
        self._settled: dict[datetime, Value | None] = {}
        self._recent: dict[datetime, Value | None] = {}
        self._recent_until = 0.0
        self._lock = threading.Lock()

    def read_some(
        self, since: datetime, *, now: datetime, seconds: float
    ) -> dict[datetime, Value | None]:
        """Return the cached buckets and those that load in time, newest first.

        The next calls load the rest.
        """
        starts = self._starts(since, now)
        deadline = time.monotonic() + seconds
        with self._lock:
            found = {
                start: self._settled[start]
                for start in starts
                if start in self._settled
            }
            recent = [start for start in starts if not self._is_settled(start, now)]
            found |= self._read_recent(recent)
            for start in reversed([start for start in starts if start not in found]):
                found[start] = self._load(start, start + self._step).get(start)
                if time.monotonic() >= deadline:
                    break
            self._store(found, [start for start in starts if start in found], now=now)
            self._prune(starts[0])
            return {start: found[start] for start in starts if start in found}

    def _read_recent(self, starts: list[datetime]) -> dict[datetime, Value | None]:
        """Read the buckets that may still change, unless read recently."""
        if starts != list(self._recent) or time.monotonic() >= self._recent_until:
            loaded = self._load(starts[0], starts[-1] + self._step) if starts else {}
            self._recent = {start: loaded.get(start) for start in starts}
            self._recent_until = time.monotonic() + RECENT_SECONDS
        return self._recent

    def _starts(self, since: datetime, now: datetime) -> list[datetime]:
        first, end = self.floor(since), self.floor(now) + self._step
        return [first + n * self._step for n in range((end - first) // self._step)]

    def read(self, since: datetime, *, now: datetime) -> dict[datetime, Value | None]:
        """Return the buckets from the one of ``since`` to the one of ``now``."""
        starts = self._starts(since, now)
        end = starts[-1] + self._step
        with self._lock:
            missing = next(
                (start for start in starts if start not in self._settled), end
            )
            loaded = dict(self._load(missing, end)) if missing < end else {}
            self._store(loaded, starts, now=now)
            self._prune(starts[0])
            return {
                start: self._settled.get(start, loaded.get(start)) for start in starts
            }

    def floor(self, at: datetime) -> datetime:
        """Return the start of the bucket that contains a time."""
        since_epoch = at - datetime(1970, 1, 1, tzinfo=UTC)
        return at - since_epoch % self._step

    def forget(self) -> None:
        """Clear the cache."""
        with self._lock:
            self._settled.clear()
            self._recent.clear()

    def _is_settled(self, start: datetime, now: datetime) -> bool:
        return start <= now - self._settled_after - self._step

    def _store(
        self,
        loaded: Mapping[datetime, Value | None],
        starts: list[datetime],
        *,
        now: datetime,
    ) -> None:
        for start in starts:
            if self._is_settled(start, now):
                self._settled.setdefault(start, loaded.get(start))

    def _prune(self, first: datetime) -> None:
        for start in [start for start in self._settled if start < first]:
            del self._settled[start]
