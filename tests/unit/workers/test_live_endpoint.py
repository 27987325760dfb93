"""The live door's ASGI end, with an application of the test's own behind it."""

import asyncio

from workers.live import endpoint


def test_however_many_come_at_once_few_are_asked_about_at_once():
    now, peak, refused = 0, 0, []

    async def django(_scope, _receive, send):
        nonlocal now, peak
        now, peak = now + 1, max(peak, now + 1)
        await asyncio.sleep(0.001)
        now -= 1
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        refused.append(message["type"])

    async def run():
        scope = {"type": "websocket", "path": "/v1/live", "scheme": "ws"}
        shaken = (
            endpoint.serve(scope, receive, send, django=django) for _ in range(50)
        )
        await asyncio.gather(*shaken)

    asyncio.run(run())

    assert refused == ["websocket.close"] * 50
    assert peak == endpoint.HANDSHAKES
