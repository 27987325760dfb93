"""A semaphore that limits each tenant's share (a bulkhead), within one process.

A tenant may have four times the permits that it leaves free. So one tenant alone gets
four fifths of them, and another tenant always gets one.
"""

from collections import Counter
from collections.abc import Hashable
from threading import Lock

MULTIPLE = 4


class FairSemaphore:
    """Counts the permits of each tenant. Thread-safe."""

    def __init__(self, permits: int) -> None:
        self._permits = permits
        self._acquired: Counter[Hashable] = Counter()
        self._lock = Lock()

    def acquire(self, tenant: Hashable) -> bool:
        """Acquire a permit, or return False at once."""
        with self._lock:
            free = self._permits - self._acquired.total()
            own = self._acquired[tenant]
            exceeds_share = own > 0 and own + 1 > MULTIPLE * (free - 1)
            if free <= 0 or exceeds_share:
                return False
            self._acquired[tenant] += 1
            return True

    def release(self, tenant: Hashable) -> None:
        """Release a permit."""
        with self._lock:
            self._acquired[tenant] -= 1
            if not self._acquired[tenant]:
                del self._acquired[tenant]
