"""A client that has sent many messages leaves the event loop to others in between."""

import asyncio

from workers.api.live.socket import MESSAGES_PER_TURN, ClientSocket


def test_others_have_their_turn_while_messages_are_waiting():
    turns = []

    async def receive():
        return {"type": "websocket.receive", "bytes": b"x"}

    async def other():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def read():
        socket = ClientSocket(receive, receive)
        task = asyncio.create_task(other())
        for _ in range(10 * MESSAGES_PER_TURN):
            assert await socket.receive() == b"x"
        task.cancel()

    asyncio.run(read())

    assert len(turns) >= 9
