"""A session at the live door, from its handshake to its transcript."""

import asyncio

from jobs.models import Attempt, Job
from tests.integration.live.conftest import rounded, speech, truth


def test_words_turn_final_and_are_stored(me):
    audio = speech(6.0)

    async def run():
        async with me.talk() as talk:
            await talk.send(audio)
            closed = await talk.finish()
        return talk, closed

    talk, closed = asyncio.run(run())

    assert closed == (1000, "client_closed")
    assert rounded(talk.words) == rounded(truth(audio))
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
    audio = speech(12.0, seed=2)
    half = len(audio) // 2

    async def run():
        async with me.talk() as talk:
            for part in (audio[:half], audio[half:]):
                await talk.send(part)
                await talk.hear("transcript")
                assert await asyncio.to_thread(me.emulator.cut)
                await talk.hear("warning", code="upstream_reconnecting")
                await talk.hear("warning", code="upstream_reconnected")
            await talk.finish()
        return talk

    talk = asyncio.run(run())

    assert rounded(talk.words) == rounded(truth(audio))
    assert talk.warnings == ["upstream_reconnecting", "upstream_reconnected"] * 2
    assert [each.outcome for each in Attempt.objects.order_by("pk")] == [
        *("error", "error"),
        "ok",
    ]
    assert Job.objects.get().status == "completed"
    assert me.is_free()
