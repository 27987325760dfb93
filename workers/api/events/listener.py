"""The bounded event queue of one stream, and the reason for its end.

Belongs to one event loop; uses neither database nor socket.
"""

import asyncio
from collections import deque
from enum import StrEnum
from uuid import UUID

from jobs.api.event_stream import EventFilters, EventPosition, StreamedEvent
from jobs.egress.addresses import IPAddress

# The events that may wait for a slow client, and the seconds to send them at the end.
MAX_QUEUED = 1000
DRAIN_SECONDS = 5.0
CHUNK = 100


class StreamEnd(StrEnum):
    """Why a stream ends; the text of its last comment."""

    TIME = "maximum duration reached, reconnect with Last-Event-ID"
    OVERFLOW = "client too slow, reconnect with Last-Event-ID"
    KEY = "API key no longer valid"
    SHUTDOWN = "server shutting down, reconnect with Last-Event-ID"


class EventListener:
    """The events to send to one client, in order and once."""

    def __init__(
        self,
        filters: EventFilters,
        *,
        after: EventPosition,
        key_id: UUID,
        address: IPAddress | None,
    ) -> None:
        self.filters, self.key_id, self.address = filters, key_id, address
        # The position of the last event returned by ``take``.
        self.position = after
        self.end: StreamEnd | None = None
        # Set once the hub offers all events after ``covered_since``.
        self.is_covered = asyncio.Event()
        self.covered_since = after
        self._queue: deque[tuple[StreamedEvent, bytes]] = deque()
        self._changed = asyncio.Event()
        self._task = asyncio.current_task()
        self._drain_timer: asyncio.TimerHandle | None = None

    def cover(self, since: EventPosition) -> None:
        """Record that the hub offers all events after this position."""
        if not self.is_covered.is_set():
            self.covered_since = since
            self.is_covered.set()

    def offer(self, event: StreamedEvent, encoded: bytes) -> None:
        """Queue an event; end the stream if the queue is full."""
        if self.end:
            return
        if len(self._queue) >= MAX_QUEUED:
            self.finish(StreamEnd.OVERFLOW)
            return
        self._queue.append((event, encoded))
        self._changed.set()

    def take(self) -> list[tuple[StreamedEvent, bytes]]:
        """Return the next events, at most CHUNK, without repeated ones."""
        taken: list[tuple[StreamedEvent, bytes]] = []
        while self._queue and len(taken) < CHUNK:
            event, encoded = self._queue.popleft()
            if event.position > self.position:
                self.position = event.position
                taken.append((event, encoded))
        return taken

    async def wait(self, seconds: float) -> bool:
        """Wait for an event or the end; return False after ``seconds`` without any."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def finish(self, end: StreamEnd) -> None:
        """End the stream; queued events must be sent within DRAIN_SECONDS."""
        if self.end:
            return
        self.end = end
        if end is StreamEnd.KEY:
            self._queue.clear()
        self._changed.set()
        self.is_covered.set()
        if self._task:
            loop = asyncio.get_running_loop()
            self._drain_timer = loop.call_later(DRAIN_SECONDS, self._task.cancel)

    def close(self) -> None:
        """Cancel the drain timer after the stream has ended."""
        if self._drain_timer:
            self._drain_timer.cancel()
        self._task = None
