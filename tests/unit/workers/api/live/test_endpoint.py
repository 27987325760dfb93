"""The live door's ASGI end, with an application of the test's own behind it."""

import asyncio
from types import SimpleNamespace
from uuid import UUID

import pytest

from workers.api.live import endpoint
from workers.api.live.handshake import Handshake


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


@pytest.mark.parametrize(
    "headers",
    [
        lambda n: [(b"authorization", b"Bearer 1")],
        lambda n: [
            (b"sec-websocket-protocol", b"junk%d" % n),
            (b"authorization", b"Bearer" + b" " * n + b" 1"),
        ],
    ],
    ids=["the same header", "another header each time"],
)
def test_a_caller_of_many_handshakes_leaves_places_to_others(headers):
    callers = [{**scope_of(1), "headers": headers(n)} for n in range(50)]

    begun = begin([*callers, scope_of(2)])

    assert begun[: endpoint.HANDSHAKES_PER_CALLER + 1] == [
        *[b"1"] * endpoint.HANDSHAKES_PER_CALLER,
        b"2",
    ]


def test_a_tenant_of_many_keys_is_one_caller(monkeypatch):
    queue = endpoint.HandshakeQueue()
    monkeypatch.setattr(endpoint, "_handshakes", queue)
    own = [scope_of(caller) for caller in range(3, 53)]
    queue._tenants.update({endpoint._get_key(scope): UUID(int=1) for scope in own})

    begun = begin([*own, scope_of(2)])

    assert begun[endpoint.HANDSHAKES_PER_CALLER] == b"2"


def test_the_tenant_of_a_key_is_known_after_a_handshake():
    async def run():
        queue, job = endpoint.HandshakeQueue(), SimpleNamespace(tenant_id=UUID(int=1))
        async with queue.enter(scope_of(1), Handshake()):
            pass
        refused = dict(queue._tenants)
        async with queue.enter(scope_of(1), Handshake(opened=SimpleNamespace(job=job))):
            pass
        return refused, queue._tenants

    assert asyncio.run(run()) == ({}, {b"1": UUID(int=1)})


def begin(scopes):
    """Let all come at once; return whose handshakes begin before the second's does."""
    begun, has_other, going_on = [], asyncio.Event(), asyncio.Event()

    async def django(scope, _receive, send):
        begun.append(endpoint._get_key(scope))
        if begun[-1] == b"2":
            has_other.set()
        await going_on.wait()
        await send({"type": "http.response.start", "status": 403, "headers": []})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(_message):
        pass

    async def run():
        async with asyncio.TaskGroup() as tasks:
            for scope in scopes:
                shaken = endpoint.serve(scope, receive, send, django=django)
                tasks.create_task(shaken)
            async with asyncio.timeout(10):
                await has_other.wait()
            going_on.set()

    asyncio.run(run())
    return begun
