"""A session at the live door, from its handshake to its transcript."""

import asyncio
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from jobs.models import Attempt, Job, Region
from tests.support import ROOT
from tests.support.live_client import RAW, LiveClient
from tests.support.live_streams import find_truth, make_speech

pytestmark = pytest.mark.xdist_group("live")


def test_words_turn_final_and_are_stored(me):
    audio = make_speech(6.0)

    async def run():
        async with me.talk() as talk:
            await talk.send(audio)
            closed = await talk.finish()
        return talk, closed

    talk, closed = asyncio.run(run())

    assert closed == (1000, "client_closed")
    assert talk.words == find_truth(audio)
    assert talk.told[-1] == {
        "type": "closed",
        "job_id": talk.job_id,
        "reason": "client_closed",
        "audio_seconds": 6.0,
        "status": "completed",
    }
    job = Job.objects.get()
    assert (str(job.pk), job.mode, job.status) == (talk.job_id, "live", "completed")
    attempt = Attempt.objects.get()
    assert (attempt.outcome, attempt.audio_seconds) == ("ok", 6.0)
    assert me.is_free()


def test_the_clients_socket_outlives_the_upstreams(me):
    audio = make_speech(12.0, seed=2)
    half = len(audio) // 2

    async def run():
        async with me.talk() as talk:
            for part in (audio[:half], audio[half:]):
                await talk.send(part)
                async with talk.kept_alive():
                    await talk.hear("transcript")
                    assert await asyncio.to_thread(me.emulator.cut_streams)
                    await talk.hear("warning", code="upstream_reconnecting")
                    await talk.hear("warning", code="upstream_reconnected")
            await talk.finish()
        return talk

    talk = asyncio.run(run())

    assert talk.words == find_truth(audio)
    assert talk.warnings == ["upstream_reconnecting", "upstream_reconnected"] * 2
    assert [each.outcome for each in Attempt.objects.order_by("pk")] == [
        *("error", "error"),
        "ok",
    ]
    assert Job.objects.get().status == "completed"
    assert me.is_free()


def test_an_upstream_that_lets_us_in_and_goes_is_not_run_at(me):
    async def run():
        async with me.talk() as talk:
            await talk.send(make_speech(1.0))
            me.emulator.inject_fault("cut", value=0.2, times=1000)
            await asyncio.to_thread(me.emulator.cut_streams)
            for _ in range(20):
                await talk.say("keepalive")
                await asyncio.sleep(0.1)
            me.emulator.configure(rules=[])
            await asyncio.to_thread(me.emulator.reset)
            await talk.send(make_speech(1.0))
            await talk.hear("warning", code="upstream_reconnected")
            await talk.finish()
        return talk

    talk = asyncio.run(run())

    assert talk.warnings == ["upstream_reconnecting", "upstream_reconnected"]
    assert 3 <= Attempt.objects.count() < 10
    assert me.is_free()


def test_an_upstream_that_breaks_on_what_it_hears_is_not_run_at(me):
    async def run():
        async with me.talk() as talk:
            await talk.send(make_speech(1.0))
            async with talk.kept_alive():
                with suppress(TimeoutError):
                    async with asyncio.timeout(1.5):
                        while True:
                            await talk.hear("transcript", is_final=False)
                            await asyncio.to_thread(me.emulator.cut_streams)
                # Not "close": that would wait for the words, and so for the next call.
                await asyncio.to_thread(me.post, f"/v1/jobs/{talk.job_id}/cancel")
                return await talk.end()

    assert asyncio.run(run()) == (1000, "canceled")
    assert 1 < Attempt.objects.count() < 8
    assert me.is_free()


def test_a_stalled_upstream_is_left_for_another_call(me):
    audio = make_speech(8.0, seed=3)
    me.emulator.inject_fault("stall", value=1.5, times=1)

    async def run():
        async with me.talk() as talk:
            await talk.send(
                audio, seconds=0.01
            )  # so that some comes after its last word
            async with talk.kept_alive():
                await talk.hear("warning", code="upstream_reconnecting")
            await talk.finish()
        return talk

    talk = asyncio.run(run())

    assert talk.words == find_truth(audio)
    assert [each.error_code for each in Attempt.objects.order_by("pk")] == [
        "upstream_timeout",
        "",
    ]


def test_what_the_upstream_refuses_for_good_is_not_tried_again(me):
    me.emulator.inject_fault("status", status=403, times=1000)

    async def run():
        async with me.connect(**RAW) as socket:
            talk = LiveClient(socket)
            return talk, await talk.end()

    talk, closed = asyncio.run(run())

    assert closed == (1011, "upstream_access_refused")
    assert talk.told[-1]["status"] == "failed"
    assert Attempt.objects.count() == 1
    assert Job.objects.get().error_code == "upstream_access_refused"
    assert Region.objects.get().paused_reason == "upstream_access_refused"
    assert me.is_free()


def test_an_upstream_that_is_full_is_asked_again(me):
    me.emulator.inject_fault("status", status=429, times=2)
    audio = make_speech(4.0, seed=4)

    async def run():
        async with me.talk() as talk:
            await talk.send(audio)
            await talk.hear("warning", code="upstream_reconnected")
            await talk.finish()
        return talk

    talk = asyncio.run(run())

    assert talk.words == find_truth(audio)
    assert Attempt.objects.filter(error_code="upstream_rate_limited").count() >= 1


def test_the_documents_example_prints_what_is_said(me):
    page = (ROOT / "docs" / "live.md").read_text()
    (_, rest) = page.split("```python\n")
    audio = make_speech(1.5, seed=5)

    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", rest.partition("```")[0]],
        input=audio,
        capture_output=True,
        timeout=30,
        check=True,
        env={
            **os.environ,
            "LIVE_URL": f"ws://127.0.0.1:{me.door.port}",
            "KEY": me.text,
        },
    )

    said = " ".join(word for word, _, _ in find_truth(audio))
    assert " ".join(ran.stdout.decode().lower().split()) == said
    assert Job.objects.get().status == "completed"
