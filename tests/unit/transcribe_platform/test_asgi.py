"""The ASGI door beside HTTP."""

import asyncio
import gc

from transcribe_platform.asgi import application


def test_a_socket_is_refused_before_it_opens():
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "websocket.connect"}

    asyncio.run(application({"type": "websocket", "path": "/"}, receive, send))

    assert sent == [{"type": "websocket.close"}]


def test_the_collector_does_not_look_at_what_stays():
    assert gc.get_freeze_count() > 100_000
