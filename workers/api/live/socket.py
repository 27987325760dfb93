"""The client's socket as ASGI has it, and how much may come through it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


NORMAL, ABNORMAL = 1000, 1006


class ClientDisconnected(Exception):
    """The client closed its socket, or lost it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.is_orderly = code == NORMAL


class ClientSocket:
    """One socket, accepted or not yet."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._is_gone = False

    async def accept(self, subprotocol: str | None, headers: Any = ()) -> None:
        """Open it."""
        message: Message = {"type": "websocket.accept", "headers": list(headers)}
        if subprotocol:
            message["subprotocol"] = subprotocol
        await self._pass(message)

    async def receive(self) -> bytes | str:
        """Return the next message; raises Gone."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._is_gone = True
                raise ClientDisconnected(int(message.get("code") or ABNORMAL))
            if message["type"] != "websocket.receive":
                continue
            data: bytes | None = message.get("bytes")
            return message["text"] if data is None else data

    async def send(self, text: str) -> None:
        """Send a message, once the client has taken the earlier ones; raises Gone."""
        await self._pass({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str, *, within: float) -> None:
        """Close it, if it will be closed; else it is dropped when we return."""
        if self._is_gone:
            return
        message = {"type": "websocket.close", "code": code, "reason": reason[:120]}
        try:
            async with asyncio.timeout(within):
                await self._send(message)
        except Exception:  # noqa: BLE001  it is of no use to anybody by now
            self._is_gone = True

    async def _pass(self, message: Message) -> None:
        if self._is_gone:
            raise ClientDisconnected(ABNORMAL)
        try:
            await self._send(message)
        except Exception as error:  # servers raise whatever they like here
            self._is_gone = True
            raise ClientDisconnected(ABNORMAL) from error


@dataclass(slots=True)
class TokenBucket:
    """So many a second, after a burst; pure but for the time it is told."""

    a_second: float
    burst: float
    left: float = 0.0
    at: float = 0.0

    def __post_init__(self) -> None:
        self.left, self.at = self.burst, time.monotonic()

    def take(self, amount: float) -> float:
        """Take some; return for how long it is overdrawn."""
        now = time.monotonic()
        self.left = min(self.burst, self.left + (now - self.at) * self.a_second)
        self.at = now
        self.left -= amount
        return max(0.0, -self.left / self.a_second)
