"""What this process saw lately: a bounded memory that forgets by itself."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

_MOST = 10_000


class RecentMarks:
    """Marks that last some seconds; the oldest give way to new ones."""

    def __init__(
        self, *, most: int = _MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._until: OrderedDict[Hashable, float] = OrderedDict()
        self._lock = threading.Lock()
        self._most = most
        self._clock = clock

    def add(self, mark: Hashable, *, seconds: float) -> None:
        """Remember the mark from now on."""
        with self._lock:
            self._until[mark] = self._clock() + seconds
            self._until.move_to_end(mark)
            if len(self._until) > self._most:
                self._until.popitem(last=False)

    def seconds_left(self, mark: Hashable) -> int:
        """Return how long the mark still lasts, rounded up; 0 without one."""
        until = self._until.get(mark)
        return 0 if until is None else max(0, math.ceil(until - self._clock()))
