"""How many synchronous calls a process runs at once, and how many of one tenant.

Pure but for its lock. A tenant may hold no more than is still free: alone it gets half
of the gate, and a newcomer always finds it open.
"""

from collections import Counter
from threading import Lock
from uuid import UUID


class Gate:
    """Counts who is inside."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._inside: Counter[UUID] = Counter()
        self._lock = Lock()

    def enter(self, tenant: UUID) -> bool:
        """Take a place, or return False at once."""
        with self._lock:
            free = self._places - self._inside.total()
            if free <= 0 or self._inside[tenant] >= free:
                return False
            self._inside[tenant] += 1
            return True

    def leave(self, tenant: UUID) -> None:
        """Give the place back."""
        with self._lock:
            self._inside[tenant] -= 1
