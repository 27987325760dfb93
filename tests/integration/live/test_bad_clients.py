"""What clients do wrong in a session: each is told, and nothing stays behind."""

import asyncio
import json
import socket
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from jobs.models import Attempt, Job
from tests.support.live_client import RAW
from tests.support.live_streams import make_speech

pytestmark = pytest.mark.xdist_group("live")


def run_session(me, act):
    """Return a session in which something is done, and how it was closed."""

    async def run():
        async with me.talk() as talk:
            await act(talk)
            return talk, await talk.end()

    talk, closed = asyncio.run(run())
    assert me.is_free()
    assert not Attempt.objects.filter(outcome="open").exists()
    assert Job.objects.get().status in {"completed", "failed"}
    return talk, closed


async def _text(talk):
    await talk.socket.send("aGVsbG8=")


async def _other_json(talk):
    await talk.socket.send(json.dumps({"type": "close", "now": True}))


async def _too_large(talk):
    await talk.socket.send(bytes(2 * 1024**2))


async def _flood(talk):
    for _ in range(200):
        await talk.say("keepalive")


async def _nothing(talk):
    await talk.send(make_speech(0.5))


async def _too_long(talk):
    await talk.send(make_speech(61.0))


@pytest.mark.parametrize(
    ("act", "code", "error"),
    [
        (_text, 4400, "message_invalid"),
        (_other_json, 4400, "message_invalid"),
        (_too_large, 1009, "frame_too_large"),
        (_flood, 4429, "too_many_messages"),
        (_nothing, 4408, "stream_idle"),
        (_too_long, 4413, "stream_too_long"),
    ],
    ids=["text", "other JSON", "2 MiB", "flood", "silent", "too long"],
)
def test_it_is_told_and_ends(me, act, code, error):
    talk, closed = run_session(me, act)

    assert closed == (code, error)
    assert [each["code"] for each in talk.of("error")] == [error]
    assert talk.told[-1]["type"] == "closed"


def test_who_keeps_alive_is_not_silent(me):
    async def act(talk):
        for _ in range(5):
            await asyncio.sleep(0.4)
            await talk.say("keepalive")
        await talk.say("close")

    _, closed = run_session(me, act)

    assert closed == (1000, "client_closed")


def test_who_does_not_read_is_let_go_of_and_has_a_transcript(me):
    """By Deepgram's door, which answers nonsense with as much of it."""

    async def run():
        # Little is under way in small segments, so that what is told soon has no room.
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        narrow.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        narrow.connect(("127.0.0.1", me.door.port))
        by = {"sock": narrow, "max_queue": 1}
        async with me.connect(path="/v1/listen", by=by, **RAW) as deaf:
            await deaf.send(make_speech(5.0, seed=9))
            for _ in range(55):
                await deaf.send("x" * 4096)
            assert await asyncio.to_thread(me.settles)
            with suppress(ConnectionClosed):
                while True:
                    await deaf.recv()
            return deaf.close_code

    assert asyncio.run(run()) in {1008, 1006}
    assert "slow_reader" in me.door.log.read_text()
    job = Job.objects.get()
    assert job.status == "completed"
    assert job.transcript.words > 0


def test_who_vanishes_leaves_a_transcript(me):
    async def run():
        async with me.talk() as talk:
            await talk.send(make_speech(5.0))
            await talk.hear("transcript", is_final=True)
            talk.socket.transport.abort()

    asyncio.run(run())

    assert me.settles()
    job = Job.objects.get()
    assert job.status == "completed"
    assert job.transcript.words > 0


def test_a_canceled_job_ends_its_session(me):
    async def run():
        async with me.talk() as talk:
            await talk.send(make_speech(1.0))
            answer = await asyncio.to_thread(me.post, f"/v1/jobs/{talk.job_id}/cancel")
            assert answer.status_code == 200, answer.content
            with suppress(ConnectionClosed):
                for _ in range(30):
                    await talk.say("keepalive")
                    await asyncio.sleep(0.1)
            return talk, await talk.end()

    talk, closed = asyncio.run(run())

    assert closed == (1000, "canceled")
    assert talk.told[-1]["status"] == "canceled"
    assert me.is_free()
