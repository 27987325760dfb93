"""Messages that would cost the other sessions time: each is bounded, none stays behind."""

import asyncio
import json
import time
from contextlib import suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from jobs.models import Job
from tests.support.live_client import RAW, LiveClient
from tests.support.live_streams import make_speech
from tests.support.wav import RIFF, chunk, header
from workers.embedded.processes import wait_until

pytestmark = pytest.mark.xdist_group("live")

MIB = 1024**2
# The door and the tests share a busy machine; unbounded work takes many seconds.
SECONDS = 2.0


async def slowest_answer(me, until: asyncio.Event) -> float:
    """Return how long the slowest of other callers' requests takes meanwhile."""
    slowest = 0.0
    url = f"http://127.0.0.1:{me.door.port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False) as other:
        while not until.is_set():
            began = time.monotonic()
            await other.get("/health/live")
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(0.01)
    return slowest


def attack(me, act, **query):
    """Return what a client is told, how it is closed and what others wait meanwhile."""

    async def run():
        over = asyncio.Event()
        others = asyncio.create_task(slowest_answer(me, over))
        async with me.connect(**query) as socket:
            talk = LiveClient(socket)
            with suppress(ConnectionClosed):
                await act(socket)
            closed = await talk.end()
        over.set()
        return talk, closed, await others

    talk, closed, slowest = asyncio.run(run())
    assert me.is_free()
    assert slowest < SECONDS
    return talk, closed


def test_a_header_with_a_byte_rate_of_one_is_refused(me):
    async def act(socket):
        await socket.send(header(byte_rate=1) + bytes(MIB - 100))

    talk, closed = attack(me, act)

    assert closed == (4400, "audio_unreadable")
    assert talk.told[-1]["audio_seconds"] == 0
    assert Job.objects.get().duration_seconds in {0, None}


def test_audio_past_the_longest_session_is_not_billed(me):
    async def act(socket):
        await socket.send(bytes(MIB))  # 131 s, where 60 s are the most

    talk, closed = attack(me, act, encoding="mulaw", sample_rate=8000)

    assert closed == (4413, "stream_too_long")
    assert talk.told[-1]["audio_seconds"] == 0


def test_a_header_of_empty_chunks_byte_by_byte_ends_with_its_client(me):
    stream = RIFF + chunk(b"junk") * 8190

    async def run():
        socket = await me.connect()
        with suppress(ConnectionClosed):
            for each in stream:
                await socket.send(bytes([each]))
        socket.transport.abort()

    asyncio.run(run())

    assert wait_until(lambda: me.places() == 0, seconds=1)
    assert me.emulator.streams() == []


def test_a_flood_of_tiny_messages_ends_the_session(me):
    async def act(socket):
        for _ in range(20_000):
            await socket.send(b"\x7f")

    _, closed = attack(me, act, encoding="mulaw", sample_rate=8000)

    # The kernel may reset a connection whose client goes on sending.
    assert closed in {(4429, "too_many_messages"), (1006, "")}
    assert (Job.objects.get().duration_seconds or 0) < 20_000 / 8_000


@pytest.mark.parametrize("path", ["/v1/live", "/v1/listen"])
def test_a_long_text_is_refused_before_it_is_parsed(me, path):
    async def act(socket):
        await socket.send(json.dumps([[]] * (15 * MIB // 4)))

    talk, closed = attack(me, act, path=path, **RAW)

    assert closed[0] == 1009
    assert [each["type"].lower() for each in talk.told[-2:-1]] == ["error"]


def test_a_deep_text_is_answered_and_the_session_goes_on(me):
    async def act(socket):
        await socket.send("[" * 60_000)
        await socket.send(make_speech(1.0))
        await socket.send('{"type":"CloseStream"}')

    talk, closed = attack(me, act, path="/v1/listen", **RAW)

    assert closed[0] == 1000
    assert talk.of("Error")[0]["variant"] == "SchemaError"
    assert "RecursionError" not in me.door.log.read_text()


def test_a_client_that_disconnects_leaves_nothing_within_a_second(me):
    """However its upstream is: this one hears and says nothing, not even the end."""
    me.emulator.inject_fault("stall", value=0.1, times=2)

    async def run(*, is_orderly):
        async with me.talk() as talk:
            await talk.send(make_speech(2.0))
            await asyncio.sleep(0.3)
            if not is_orderly:
                talk.socket.transport.abort()
        return time.monotonic()

    for is_orderly in (True, False):
        gone_at = asyncio.run(run(is_orderly=is_orderly))
        assert wait_until(lambda: me.places() == 0, seconds=3)
        assert wait_until(lambda: me.emulator.streams() == [], seconds=1)
        assert time.monotonic() - gone_at < 1.2
    assert Job.objects.exclude(status="processing").count() == 2
