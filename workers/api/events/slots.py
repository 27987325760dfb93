"""Limits of event streams, per process and per tenant.

A request thread acquires a slot; the end of the stream releases it. A stream whose
client disconnected before the first byte never ends, so its slot expires.
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
    """Counts the open streams by tenant."""

    def __init__(self) -> None:
        self._counts: Counter[UUID] = Counter()
        self._waiting: set[StreamSlot] = set()
        self._lock = threading.Lock()

    def acquire(self, tenant_id: UUID) -> "StreamSlot":
        """Return a slot; raises LimitExceeded or ServiceUnavailable if none is free."""
        self._release_unstarted()
        with self._lock:
            if self._counts[tenant_id] >= settings.EVENT_STREAMS_MAX_PER_TENANT:
                raise LimitExceeded(
                    "Your tenant has too many open event streams.",
                    code="event_streams_exceeded",
                    retry_after=RETRY_SECONDS,
                )
            if self._counts.total() >= settings.EVENT_STREAMS_MAX:
                message = (
                    "This process has no free event stream. Retry in a few seconds."
                )
                raise ServiceUnavailable(message, code="event_streams_full")
            self._counts[tenant_id] += 1
            slot = StreamSlot(self, tenant_id)
            self._waiting.add(slot)
        return slot

    def mark_started(self, slot: "StreamSlot") -> None:
        """Record that the slot's stream has started."""
        with self._lock:
            self._waiting.discard(slot)

    def _release_unstarted(self) -> None:
        latest = time.monotonic() - START_SECONDS
        with self._lock:
            late = [slot for slot in self._waiting if slot.acquired_at < latest]
        for slot in late:
            slot.release()

    def remove(self, slot: "StreamSlot", tenant_id: UUID) -> None:
        """Remove a released slot from the counts."""
        with self._lock:
            self._waiting.discard(slot)
            self._counts[tenant_id] -= 1
            if not self._counts[tenant_id]:
                del self._counts[tenant_id]

    def __len__(self) -> int:
        """Return the number of open streams."""
        return self._counts.total()


class StreamSlot:
    """A slot of one stream; releasing it twice is harmless."""

    def __init__(self, slots: StreamSlots, tenant_id: UUID) -> None:
        self._slots, self._tenant_id = slots, tenant_id
        self.acquired_at = time.monotonic()
        self._is_held = threading.Lock()
        self._is_held.acquire()

    def start(self) -> bool:
        """Record the start of the stream; return False if the slot has expired."""
        self._slots.mark_started(self)
        return self._is_held.locked()

    def release(self) -> None:
        """Release the slot."""
        try:
            self._is_held.release()
        except RuntimeError:  # already released
            return
        self._slots.remove(self, self._tenant_id)


@cache
def get_slots() -> StreamSlots:
    """Return the process's slots."""
    return StreamSlots()
