"""Clients of Deepgram's SDK, and of its sockets, at our live door."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from deepgram import DeepgramClientEnvironment
from websockets.exceptions import ConnectionClosed

from tests.support.live_streams import FRAME_BYTES


def environment(door: Any) -> DeepgramClientEnvironment:
    here = f"http://127.0.0.1:{door.port}"
    return DeepgramClientEnvironment(
        base=here, production=here.replace("http", "ws"), agent=here, agent_rest=here
    )


def frames(audio: bytes) -> list[bytes]:
    return [
        audio[begin : begin + FRAME_BYTES]
        for begin in range(0, len(audio), FRAME_BYTES)
    ]


async def hear_all(socket: Any) -> tuple[list[dict[str, Any]], int, str]:
    """Return all that is told, and how the socket was closed."""
    told = []
    with suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            while True:
                told.append(json.loads(await socket.recv()))
    return told, socket.close_code, socket.close_reason
