"""How many streams a process serves, and how many a tenant may have of them.

Taken by a request's thread, given back by whoever sees the stream end first.
"""

import threading
from collections import Counter
from functools import cache
from uuid import UUID

from django.conf import settings

from jobs.errors import LimitExceeded, ServiceUnavailable

RETRY_SECONDS = 5


class Slots:
    """Counts who is inside."""

    def __init__(self) -> None:
        self._inside: Counter[UUID] = Counter()
        self._lock = threading.Lock()

    def take(self, tenant_id: UUID) -> "Slot":
        """Return a place; raises LimitExceeded or ServiceUnavailable at once."""
        with self._lock:
            if self._inside[tenant_id] >= settings.EVENT_STREAMS_MAX_PER_TENANT:
                raise LimitExceeded(
                    "Your tenant has too many event streams open.",
                    code="event_streams_exceeded",
                    retry_after=RETRY_SECONDS,
                )
            if self._inside.total() >= settings.EVENT_STREAMS_MAX:
                message = "This process serves no more event streams now."
                raise ServiceUnavailable(message, code="event_streams_full")
            self._inside[tenant_id] += 1
        return Slot(self, tenant_id)

    def give_back(self, tenant_id: UUID) -> None:
        """Count one less."""
        with self._lock:
            self._inside[tenant_id] -= 1
            if not self._inside[tenant_id]:
                del self._inside[tenant_id]

    def __len__(self) -> int:
        """Return how many are inside."""
        return self._inside.total()


class Slot:
    """One place, given back once however often it is let go."""

    def __init__(self, slots: Slots, tenant_id: UUID) -> None:
        self._slots, self._tenant_id = slots, tenant_id
        self._is_held = threading.Lock()
        self._is_held.acquire()

    def let_go(self) -> None:
        """Give the place back; a second time is harmless."""
        try:
            self._is_held.release()
        except RuntimeError:  # it was let go before
            return
        self._slots.give_back(self._tenant_id)


@cache
def get_slots() -> Slots:
    """Return those of this process."""
    return Slots()
