"""How many may be inside at once, and how many of one tenant.

Pure but for its lock. A tenant may hold four times what it leaves free: alone it gets
four fifths of the gate, and a newcomer always finds it open.
"""

from collections import Counter
from collections.abc import Hashable
from threading import Lock

MULTIPLE = 4


class FairSemaphore:
    """Counts who is inside."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._inside: Counter[Hashable] = Counter()
        self._lock = Lock()

    def enter(self, who: Hashable) -> bool:
        """Take a place, or return False at once."""
        with self._lock:
            free, held = self._places - self._inside.total(), self._inside[who]
            is_greedy = held > 0 and held + 1 > MULTIPLE * (free - 1)
            if free <= 0 or is_greedy:
                return False
            self._inside[who] += 1
            return True

    def leave(self, who: Hashable) -> None:
        """Give the place back."""
        with self._lock:
            self._inside[who] -= 1
            if not self._inside[who]:
                del self._inside[who]
