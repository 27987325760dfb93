"""Sums of past stretches of time, read once: what is long past does not change.

Each process keeps its own; losing them costs one longer look.
"""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")

# Less than those who look at a day keep what they saw of it.
RECENT_SECONDS = 15.0


class TimeBuckets(Generic[Value]):
    """One value a slot (a minute, an hour) of time.

    ``load`` reads those between two times, by their beginnings; a slot without rows may
    be missing. A slot read later than ``settled_after`` its end is not read again.
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
        self._kept: dict[datetime, Value | None] = {}
        self._recent: dict[datetime, Value | None] = {}
        self._recent_until = 0.0
        self._lock = threading.Lock()

    def read_some(
        self, since: datetime, *, now: datetime, seconds: float
    ) -> dict[datetime, Value | None]:
        """Return what is kept and what can be read in that time, newest first.

        The next call goes on: in the end nothing is missing.
        """
        starts = self._starts(since, now)
        until = time.monotonic() + seconds
        with self._lock:
            found = {each: self._kept[each] for each in starts if each in self._kept}
            recent = [each for each in starts if not self._is_settled(each, now)]
            found |= self._read_recent(recent)
            for each in reversed([each for each in starts if each not in found]):
                found[each] = self._load(each, each + self._step).get(each)
                if time.monotonic() >= until:
                    break
            self._keep(found, [each for each in starts if each in found], now=now)
            self._prune(starts[0])
            return {each: found[each] for each in starts if each in found}

    def _read_recent(self, starts: list[datetime]) -> dict[datetime, Value | None]:
        """Read what may still change, unless that was only just done."""
        if starts != list(self._recent) or time.monotonic() >= self._recent_until:
            loaded = self._load(starts[0], starts[-1] + self._step) if starts else {}
            self._recent = {each: loaded.get(each) for each in starts}
            self._recent_until = time.monotonic() + RECENT_SECONDS
        return self._recent

    def _starts(self, since: datetime, now: datetime) -> list[datetime]:
        first, end = self.floor(since), self.floor(now) + self._step
        return [first + n * self._step for n in range((end - first) // self._step)]

    def read(self, since: datetime, *, now: datetime) -> dict[datetime, Value | None]:
        """Return the slots from the one that holds ``since`` to the one of now."""
        starts = self._starts(since, now)
        end = starts[-1] + self._step
        with self._lock:
            missing = next((each for each in starts if each not in self._kept), end)
            loaded = dict(self._load(missing, end)) if missing < end else {}
            self._keep(loaded, starts, now=now)
            self._prune(starts[0])
            return {each: self._kept.get(each, loaded.get(each)) for each in starts}

    def floor(self, at: datetime) -> datetime:
        """Return the beginning of the slot that holds a time."""
        since_epoch = at - datetime(1970, 1, 1, tzinfo=UTC)
        return at - since_epoch % self._step

    def forget(self) -> None:
        """Read everything anew the next time."""
        with self._lock:
            self._kept.clear()
            self._recent.clear()

    def _is_settled(self, start: datetime, now: datetime) -> bool:
        return start <= now - self._settled_after - self._step

    def _keep(
        self,
        loaded: Mapping[datetime, Value | None],
        starts: list[datetime],
        *,
        now: datetime,
    ) -> None:
        for each in starts:
            if self._is_settled(each, now):
                self._kept.setdefault(each, loaded.get(each))

    def _prune(self, first: datetime) -> None:
        for each in [each for each in self._kept if each < first]:
            del self._kept[each]
