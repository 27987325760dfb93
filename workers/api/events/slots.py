"""How many streams a process serves, and how many a tenant may have of them.

Taken by a request's thread, given back by whoever sees the stream end first. One whose
client hung up before the first byte is seen by nobody: it has a few seconds to begin.
"""

import threading
import time
from collections import Counter
from functools import cache
from uuid import UUID

from django.conf import settings

from jobs.errors import LimitExceeded, ServiceUnavailable

RETRY_SECONDS = 5
START_SECONDS = 3.0


class StreamSlots:
    """Counts who is inside."""

    def __init__(self) -> None:
        self._inside: Counter[UUID] = Counter()
        self._waiting: set[StreamSlot] = set()
        self._lock = threading.Lock()

    def take(self, tenant_id: UUID) -> "StreamSlot":
        """Return a place; raises LimitExceeded or ServiceUnavailable at once."""
        self._let_late_go()
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
            slot = StreamSlot(self, tenant_id)
            self._waiting.add(slot)
        return slot

    def begin(self, slot: "StreamSlot") -> None:
        """Note that the slot's stream has begun."""
        with self._lock:
            self._waiting.discard(slot)

    def _let_late_go(self) -> None:
        latest = time.monotonic() - START_SECONDS
        with self._lock:
            late = [slot for slot in self._waiting if slot.taken_at < latest]
        for slot in late:
            slot.let_go()

    def give_back(self, slot: "StreamSlot", tenant_id: UUID) -> None:
        """Count one less."""
        with self._lock:
            self._waiting.discard(slot)
            self._inside[tenant_id] -= 1
            if not self._inside[tenant_id]:
                del self._inside[tenant_id]

    def __len__(self) -> int:
        """Return how many are inside."""
        return self._inside.total()


class StreamSlot:
    """One place, given back once however often it is let go."""

    def __init__(self, slots: StreamSlots, tenant_id: UUID) -> None:
        self._slots, self._tenant_id = slots, tenant_id
        self.taken_at = time.monotonic()
        self._is_held = threading.Lock()
        self._is_held.acquire()

    def begin(self) -> bool:
        """Say that the stream begins; false if that came too late."""
        self._slots.begin(self)
        return self._is_held.locked()

    def let_go(self) -> None:
        """Give the place back; a second time is harmless."""
        try:
            self._is_held.release()
        except RuntimeError:  # it was let go before
            return
        self._slots.give_back(self, self._tenant_id)


@cache
def get_slots() -> StreamSlots:
    """Return those of this process."""
    return StreamSlots()
