"""The client's WebSocket over ASGI, and token buckets for its messages."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


NORMAL, ABNORMAL = 1000, 1006
MESSAGES_PER_TURN = 8


class ClientDisconnected(Exception):
    """The client closed its socket or lost the connection."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.is_orderly = code == NORMAL


class ClientSocket:
    """A socket, accepted or not yet."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._is_disconnected = False
        self._received = 0

    async def accept(self, subprotocol: str | None, headers: Any = ()) -> None:
        """Accept the handshake."""
        message: Message = {"type": "websocket.accept", "headers": list(headers)}
        if subprotocol:
            message["subprotocol"] = subprotocol
        await self._send_message(message)

    async def receive(self) -> bytes | str:
        """Return the next message; raises ClientDisconnected.

        Messages that have arrived are received without a pause, so a client that sends
        many would keep the event loop from all others: each turn gets a few.
        """
        while True:
            self._received += 1
            if self._received % MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._is_disconnected = True
                raise ClientDisconnected(int(message.get("code") or ABNORMAL))
            if message["type"] != "websocket.receive":
                continue
            data: bytes | None = message.get("bytes")
            return message["text"] if data is None else data

    async def send(self, text: str) -> None:
        """Send a text message; raises ClientDisconnected."""
        await self._send_message({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str, *, within: float) -> None:
        """Close the socket; after ``within`` seconds the server drops it."""
        if self._is_disconnected:
            return
        message = {"type": "websocket.close", "code": code, "reason": reason[:120]}
        try:
            async with asyncio.timeout(within):
                await self._send(message)
        except Exception:  # noqa: BLE001  the session has ended anyway
            self._is_disconnected = True

    async def _send_message(self, message: Message) -> None:
        if self._is_disconnected:
            raise ClientDisconnected(ABNORMAL)
        try:
            await self._send(message)
        except Exception as error:  # ASGI does not specify the exception
            self._is_disconnected = True
            raise ClientDisconnected(ABNORMAL) from error


@dataclass(slots=True)
class TokenBucket:
    """A token bucket: ``per_second`` tokens a second, at most ``burst``."""

    per_second: float
    burst: float
    left: float = 0.0
    at: float = 0.0

    def __post_init__(self) -> None:
        self.left, self.at = self.burst, time.monotonic()

    def consume(self, amount: float) -> float:
        """Consume tokens; return the seconds until the bucket is not overdrawn."""
        now = time.monotonic()
        self.left = min(self.burst, self.left + (now - self.at) * self.per_second)
        self.at = now
        self.left -= amount
        return max(0.0, -self.left / self.per_second)
