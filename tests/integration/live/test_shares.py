"""How many sessions a tenant may hold, and what ends those that hold one for nothing."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from websockets.exceptions import InvalidStatus

from jobs.models import Job, Region
from tests.support.live_client import RAW, Customer, LiveClient
from tests.support.live_streams import make_speech

pytestmark = pytest.mark.xdist_group("live")


@pytest.fixture
def them(me) -> Customer:
    return Customer(me.door, me.emulator, me.broker)


@pytest.fixture
def third(me) -> Customer:
    return Customer(me.door, me.emulator, me.broker)


async def connect_all(customer, number, stack):
    """Return the sockets that open, and the problems of the handshakes refused."""
    opened = await asyncio.gather(
        *(
            stack.enter_async_context(customer.connect(path=path, **RAW))
            for path in ["/v1/live", "/v1/listen"] * (number // 2)
        ),
        return_exceptions=True,
    )
    refused = [each for each in opened if isinstance(each, InvalidStatus)]
    return len(opened) - len(refused), [each.response for each in refused]


@pytest.mark.parametrize(("max_in_flight", "share"), [(None, 3), (5, 5), (2, 2)])
def test_parallel_handshakes_take_no_more_than_a_tenants_share(
    me, them, max_in_flight, share
):
    Region.objects.update(max_streams=6)
    me.tenant.max_in_flight = max_in_flight
    me.tenant.save()

    async def run():
        async with AsyncExitStack() as stack:
            mine, refused = await connect_all(me, 14, stack)
            places = me.places()
            theirs, _ = await connect_all(them, 2, stack)
        return mine, places, theirs, refused

    mine, places, theirs, refused = asyncio.run(run())

    assert mine == places == share
    assert theirs == min(2, 6 - share)
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    told = [json.loads(bytes(answer.body)) for answer in refused]
    assert {body.get("code", "stream_limit_reached") for body in told} == {
        "stream_limit_reached"
    }
    assert me.settles()


@pytest.mark.parametrize(
    ("path", "keep", "closing"),
    [
        ("/v1/live", '{"type":"keepalive"}', (4408, "stream_without_audio")),
        (
            *("/v1/listen", '{"type":"KeepAlive"}'),
            (1011, "No audio came for too long. See https://dpgr.am/net0001"),
        ),
    ],
)
def test_a_session_without_audio_yields_to_a_refused_caller(
    me, them, third, path, keep, closing
):
    Region.objects.update(max_streams=2)

    async def keep_open(talk):
        while True:
            await talk.socket.send(keep)
            await asyncio.sleep(0.2)

    async def speak(talk):
        while True:
            await talk.socket.send(make_speech(0.2))
            await asyncio.sleep(0.2)

    async def run():
        async with me.connect(path=path, **RAW) as socket, them.talk() as used:
            silent = LiveClient(socket)
            busy = [
                asyncio.create_task(keep_open(silent)),
                asyncio.create_task(speak(used)),
            ]
            # Twice as long as a session without audio has while others are refused.
            await asyncio.sleep(2.0)
            assert socket.close_code is None
            with pytest.raises(InvalidStatus) as refused:
                async with third.connect(**RAW):
                    pass
            closed = await silent.end()
            for task in busy:
                task.cancel()
            async with third.talk():
                pass
            return closed, refused.value.response, await used.finish()

    closed, refused, other = asyncio.run(run())

    assert closed == closing
    assert refused.status_code == 429
    assert json.loads(bytes(refused.body))["code"] == "no_stream_place"
    assert other == (1000, "client_closed")
    assert Job.objects.filter(tenant=me.tenant).get().status == "completed"


def test_no_session_yields_to_its_own_tenant(me, them):
    """A tenant that has its share asks again and again: nobody loses a session."""
    Region.objects.update(max_streams=2)

    async def run():
        async with me.talk() as mine, them.talk() as theirs:
            async with mine.kept_alive(), theirs.kept_alive():
                for _ in range(12):
                    with pytest.raises(InvalidStatus):
                        async with me.connect(**RAW):
                            pass
                    await asyncio.sleep(0.2)
            return await mine.finish(), await theirs.finish()

    assert asyncio.run(run()) == ((1000, "client_closed"), (1000, "client_closed"))
