"""Sums of past stretches of time, read once: what is long past does not change.

Each process keeps its own; losing them costs one longer look.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Slots(Generic[Value]):
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
        self._lock = threading.Lock()

    def read(self, since: datetime, *, now: datetime) -> dict[datetime, Value | None]:
        """Return the slots from the one that holds ``since`` to the one of now."""
        first, end = self.floor(since), self.floor(now) + self._step
        with self._lock:
            starts = [
                first + n * self._step for n in range((end - first) // self._step)
            ]
            missing = next((each for each in starts if each not in self._kept), end)
            loaded = dict(self._load(missing, end)) if missing < end else {}
            self._keep(loaded, starts, now=now)
            return {each: self._kept.get(each, loaded.get(each)) for each in starts}

    def floor(self, at: datetime) -> datetime:
        """Return the beginning of the slot that holds a time."""
        since_epoch = at - datetime(1970, 1, 1, tzinfo=UTC)
        return at - since_epoch % self._step

    def forget(self) -> None:
        """Read everything anew the next time."""
        with self._lock:
            self._kept.clear()

    def _keep(
        self, loaded: Mapping[datetime, Value], starts: list[datetime], *, now: datetime
    ) -> None:
        settled = now - self._settled_after - self._step
        for each in starts:
            if each <= settled:
                self._kept.setdefault(each, loaded.get(each))
        for each in [each for each in self._kept if each < starts[0]]:
            del self._kept[each]
