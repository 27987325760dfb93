"""What happens around a session while it runs, and does not end it, or ends it cleanly."""

import asyncio
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from jobs.models import Attempt, Job, Region
from tests.support.database import admin_connection
from tests.support.live_streams import find_truth, make_speech, read_stored
from workers.embedded.processes import wait_until

pytestmark = pytest.mark.xdist_group("live")


def test_neither_redis_nor_operators_break_a_session_off(me):
    """FLUSHDB, region drained, tenant paused; then a break, and the region is back."""
    audio = make_speech(8.0, seed=11)
    half = len(audio) // 2

    async def run():
        async with me.talk() as talk, talk.kept_alive():
            me.broker.flushdb()
            await asyncio.to_thread(change, me, is_drained=True)
            await talk.send(audio[:half])
            await talk.hear("transcript", is_final=True)
            assert await asyncio.to_thread(
                wait_until, lambda: me.places() == 1, seconds=5
            )
            await asyncio.to_thread(me.emulator.cut_streams)
            await talk.hear("warning", code="upstream_reconnecting")
            await asyncio.sleep(0.3)
            assert (
                len(me.emulator.listen_calls()) == 1
            )  # nothing new begins in a drained region
            await asyncio.to_thread(change, me, is_drained=False)
            await talk.send(audio[half:])
            await talk.hear("warning", code="upstream_reconnected")
            await talk.finish()
        return talk

    talk = asyncio.run(run())

    assert talk.words == find_truth(audio)
    assert read_stored(talk.job_id) == talk.words
    assert me.is_free()


def change(me, *, is_drained: bool) -> None:
    Region.objects.update(is_drained=is_drained)
    me.tenant.is_paused = is_drained
    me.tenant.save()
    connection.close()


def test_a_key_that_is_revoked_ends_its_session(me):
    def revoke():
        me.key.revoked_at = timezone.now() - timedelta(seconds=1)
        me.key.save()
        connection.close()

    async def run():
        async with me.talk() as talk, talk.kept_alive():
            await talk.send(make_speech(3.0))
            await talk.hear("transcript")
            await asyncio.to_thread(revoke)
            return talk, await talk.end()

    talk, closed = asyncio.run(run())

    assert closed == (4401, "key_invalid")
    assert talk.words == find_truth(make_speech(3.0))
    assert Job.objects.get().status == "completed"
    assert me.is_free()


@contextmanager
def database_away(door):
    """Let the door into the database no more, for the block."""
    name = connection.settings_dict["NAME"]
    with admin_connection() as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name = %s",
                [name, door.name],
            )
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_what_is_final_while_the_database_is_away_is_told_and_stored_later(me):
    audio = make_speech(6.0, seed=12)

    async def run():
        async with me.talk() as talk, talk.kept_alive():
            with database_away(me.door):
                await talk.send(audio)
                await talk.hear("warning", code="finals_not_stored")
                await talk.say("close")
            return talk, await talk.end()

    talk, closed = asyncio.run(run())

    assert closed == (1000, "client_closed")
    assert talk.words == find_truth(audio)
    assert read_stored(talk.job_id) == talk.words
    assert Attempt.objects.get().outcome == "ok"
    assert me.is_free()
