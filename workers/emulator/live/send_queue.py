"""Sends messages to the client of one stream, in order, in a separate task."""

import asyncio
import contextlib

from aiohttp import web

# The client is not read while more messages than this wait to be sent.
MAX_WAITING = 256


class SendQueue:
    """Sends messages; supports a delay per message and permanent silence."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.delay_seconds = 0.0
        self.is_silent = False
        self._socket = socket
        self._texts: asyncio.Queue[str] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start sending."""
        self._task = asyncio.create_task(self._send_all())

    def put(self, text: str) -> None:
        """Queue a message; drop it when silent."""
        if not self.is_silent:
            self._texts.put_nowait(text)

    async def wait_for_room(self) -> None:
        """Wait while too many messages are queued."""
        if self._texts.qsize() > MAX_WAITING:
            await self._texts.join()

    async def drain(self) -> None:
        """Wait until all messages are sent."""
        await self._texts.join()

    async def close(self) -> None:
        """End the task; drop unsent messages."""
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
                # The reading side detects that the client disconnected.
                with contextlib.suppress(ConnectionError, RuntimeError):
                    await self._socket.send_str(text)
            finally:
                self._texts.task_done()
