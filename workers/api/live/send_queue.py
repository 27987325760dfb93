"""The queue of messages to a client that may read slowly.

A newer interim result replaces a queued one; nothing else is dropped. A full queue, or
one message that cannot be sent for too long, ends the session.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from workers.api.live import counters
from workers.api.live.wire_format import ServerMessage

MAX_WAITING = 500
# A final result is sent after it is stored, or after this time without the database.
STORE_SECONDS = 2.0

Send = Callable[[ServerMessage], Awaitable[None]]


class SlowClient(Exception):
    """The client reads too slowly."""


@dataclass(slots=True)
class _QueuedMessage:
    message: ServerMessage
    stored: "asyncio.Future[bool] | None"
    queued_at: float


class SendQueue:
    """The queued messages, sent in order."""

    def __init__(self, send: Send, *, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self._entries: deque[_QueuedMessage] = deque()
        self._changed = asyncio.Event()
        self._is_done = False
        self.is_unstored = False

    def put(
        self, message: ServerMessage, *, stored: "asyncio.Future[bool] | None" = None
    ) -> None:
        """Queue a message, to send after ``stored``; raises SlowClient if full."""
        if message.is_interim:
            self._replace(message)
        if len(self._entries) >= MAX_WAITING:
            raise SlowClient
        self._entries.append(_QueuedMessage(message, stored, time.monotonic()))
        self._changed.set()

    def put_last(self, message: ServerMessage) -> None:
        """Queue a closing message, even if the queue is full."""
        self._entries.append(_QueuedMessage(message, None, time.monotonic()))
        self._changed.set()

    def finish(self) -> None:
        """End ``run`` once the queue is empty."""
        self._is_done = True
        self._changed.set()

    async def run(self) -> None:
        """Send until finished; raises SlowClient or ClientDisconnected."""
        while True:
            while self._entries:
                await self._send_one(self._entries.popleft())
            if self._is_done:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _send_one(self, entry: _QueuedMessage) -> None:
        if entry.stored is not None and not entry.stored.done():
            await asyncio.wait([entry.stored], timeout=STORE_SECONDS)
            self.is_unstored = not entry.stored.done()
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(entry.message)
        except TimeoutError:
            raise SlowClient from None
        if entry.message.upstream is not None:
            counters.record_added_latency(time.monotonic() - entry.queued_at)

    def _replace(self, message: ServerMessage) -> None:
        """Drop the queued interim result of the same channel, if any."""
        for entry in self._entries:
            is_same = entry.message.fields.get("channel") == message.fields["channel"]
            if entry.message.is_interim and is_same:
                self._entries.remove(entry)
                return
