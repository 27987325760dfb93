"""One who listens: a bounded queue, and why the stream is to end.

Belongs to one event loop; nothing here asks a database or a socket.
"""

import asyncio
from collections import deque
from enum import StrEnum
from uuid import UUID

from jobs.api.event_stream import EventFilters, EventPosition, StreamedEvent
from jobs.egress.addresses import IPAddress

# So many events may wait for a slow client, and then so long for its socket.
ROOM = 1000
DRAIN_SECONDS = 5.0
CHUNK = 100


class StreamEnd(StrEnum):
    """Why a stream ends, in the words of its last comment."""

    TIME = "time is up: come again with Last-Event-ID"
    OVERFLOW = "too slow: come again with Last-Event-ID"
    KEY = "the key is not valid any more"
    SHUTDOWN = "this process stops: come again with Last-Event-ID"


class EventListener:
    """What waits to be sent to one client, in order and once."""

    def __init__(
        self,
        wanted: EventFilters,
        *,
        after: EventPosition,
        key_id: UUID,
        address: IPAddress | None,
    ) -> None:
        self.wanted, self.key_id, self.address = wanted, key_id, address
        # All up to here was handed out.
        self.position = after
        self.end: StreamEnd | None = None
        # Set once it is offered everything after a position.
        self.is_covered = asyncio.Event()
        self.covered_since = after
        self._queue: deque[tuple[StreamedEvent, bytes]] = deque()
        self._news = asyncio.Event()
        self._task = asyncio.current_task()
        self._last_call: asyncio.TimerHandle | None = None

    def cover(self, since: EventPosition) -> None:
        """Know that everything after this position is offered."""
        if not self.is_covered.is_set():
            self.covered_since = since
            self.is_covered.set()

    def offer(self, told: StreamedEvent, encoded: bytes) -> None:
        """Take an event to send, or end for being too slow."""
        if self.end:
            return
        if len(self._queue) >= ROOM:
            self.finish(StreamEnd.OVERFLOW)
            return
        self._queue.append((told, encoded))
        self._news.set()

    def take(self) -> list[tuple[StreamedEvent, bytes]]:
        """Return the next events that were not handed out yet, some at a time."""
        taken: list[tuple[StreamedEvent, bytes]] = []
        while self._queue and len(taken) < CHUNK:
            told, encoded = self._queue.popleft()
            if told.position > self.position:
                self.position = told.position
                taken.append((told, encoded))
        return taken

    async def wait(self, seconds: float) -> bool:
        """Wait for news; false if there was none for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def finish(self, end: StreamEnd) -> None:
        """End the stream; a socket that does not take the rest is given up."""
        if self.end:
            return
        self.end = end
        if end is StreamEnd.KEY:
            self._queue.clear()
        self._news.set()
        self.is_covered.set()
        if self._task:
            loop = asyncio.get_running_loop()
            self._last_call = loop.call_later(DRAIN_SECONDS, self._task.cancel)

    def close(self) -> None:
        """Let go of the task: it has ended by itself."""
        if self._last_call:
            self._last_call.cancel()
        self._task = None
