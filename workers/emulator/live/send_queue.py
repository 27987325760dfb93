"""What goes to the client of one stream, in order, from a task of its own."""

import asyncio
import contextlib

from aiohttp import web

# A client that does not read is not read from either, once so much waits for it.
MOST_WAITING = 256


class Outbox:
    """Send texts. It can be slowed down, or silenced for good."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.delay_seconds = 0.0
        self.is_silent = False
        self._socket = socket
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send_all())

    def put(self, text: str) -> None:
        """Send a text after those before it."""
        if not self.is_silent:
            self._texts.put_nowait(text)

    async def room(self) -> None:
        """Return once not too many texts wait."""
        if self._texts.qsize() > MOST_WAITING:
            await self._texts.join()

    async def drain(self) -> None:
        """Return once everything is sent."""
        await self._texts.join()

    async def close(self) -> None:
        """End the task; what is not sent is lost."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _send_all(self) -> None:
        while True:
            text = await self._texts.get()
            try:
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                # When the client has gone, the reading side finds that out.
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await self._socket.send_str(text)
            finally:
                self._texts.task_done()
