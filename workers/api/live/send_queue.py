"""What waits to be told to a client that may read slowly.

A newer interim takes the place of the one that waits; nothing else is ever dropped.
Too much of it, or one message that is not taken for too long, ends the session.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from workers.api.live import counters
from workers.api.live.wire_format import ServerMessage

MAX_WAITING = 500
# A final waits for the database; for longer than this it is told all the same.
STORE_SECONDS = 2.0

Send = Callable[[ServerMessage], Awaitable[None]]


class SlowClient(Exception):
    """The client does not read."""


@dataclass(slots=True)
class _Entry:
    told: ServerMessage
    stored: "asyncio.Future[bool] | None"
    came_at: float


class SendQueue:
    """Messages in their order."""

    def __init__(self, send: Send, *, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self._entries: deque[_Entry] = deque()
        self._poke = asyncio.Event()
        self._is_done = False
        self.is_unstored = False

    def put(
        self, told: ServerMessage, *, stored: "asyncio.Future[bool] | None" = None
    ) -> None:
        """Tell it after all that waits; raises TooSlow when too much does."""
        if told.is_interim:
            self._replace(told)
        if len(self._entries) >= MAX_WAITING:
            raise SlowClient
        self._entries.append(_Entry(told, stored, time.monotonic()))
        self._poke.set()

    def put_last(self, told: ServerMessage) -> None:
        """Tell it at the end, however much waits."""
        self._entries.append(_Entry(told, None, time.monotonic()))
        self._poke.set()

    def finish(self) -> None:
        """Let ``run`` end once nothing waits."""
        self._is_done = True
        self._poke.set()

    async def run(self) -> None:
        """Send until finished; raises TooSlow, or what the socket raises."""
        while True:
            while self._entries:
                await self._send_one(self._entries.popleft())
            if self._is_done:
                return
            self._poke.clear()
            await self._poke.wait()

    async def _send_one(self, entry: _Entry) -> None:
        if entry.stored is not None and not entry.stored.done():
            await asyncio.wait([entry.stored], timeout=STORE_SECONDS)
            self.is_unstored = not entry.stored.done()
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(entry.told)
        except TimeoutError:
            raise SlowClient from None
        if entry.told.upstream is not None:
            counters.note_added_latency(time.monotonic() - entry.came_at)

    def _replace(self, told: ServerMessage) -> None:
        """Drop the interim of the same channel that waits, if one does."""
        for entry in self._entries:
            is_same = entry.told.fields.get("channel") == told.fields["channel"]
            if entry.told.is_interim and is_same:
                self._entries.remove(entry)
                return
