"""The live door's ASGI end, with an application of the test's own behind it."""

import asyncio

from workers.api.live import endpoint


def scope_of(caller: int) -> dict:
    return {
        "type": "websocket",
        "path": "/v1/live",
        "scheme": "ws",
        "headers": [(b"authorization", b"Bearer %d" % caller)],
    }


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
        shaken = (
            endpoint.serve(scope_of(caller), receive, send, django=django)
            for caller in range(50)
        )
        await asyncio.gather(*shaken)

    asyncio.run(run())

    assert refused == ["websocket.close"] * 50
    assert peak == endpoint.HANDSHAKES


def test_a_caller_of_many_handshakes_leaves_places_to_others():
    begun, has_other, going_on = [], asyncio.Event(), asyncio.Event()

    async def django(scope, _receive, send):
        begun.append(dict(scope["headers"])[b"authorization"])
        if begun[-1] == b"Bearer 2":
            has_other.set()
        await going_on.wait()
        await send({"type": "http.response.start", "status": 403, "headers": []})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(_message):
        pass

    async def run():
        async with asyncio.TaskGroup() as tasks:
            for caller in [1] * 50 + [2]:
                shaken = endpoint.serve(scope_of(caller), receive, send, django=django)
                tasks.create_task(shaken)
            async with asyncio.timeout(10):
                await has_other.wait()
            going_on.set()

    asyncio.run(run())

    assert begun[: endpoint.HANDSHAKES_PER_CALLER + 1] == [
        *[b"Bearer 1"] * endpoint.HANDSHAKES_PER_CALLER,
        b"Bearer 2",
    ]
