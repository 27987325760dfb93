"""The end of a session whose upstream is slow, or never sends its last results."""

import asyncio

import pytest

from jobs.models import Job
from tests.support.asgi_process import AsgiProcess
from tests.support.live_client import SETTINGS, Customer
from tests.support.live_streams import find_truth, make_speech, read_stored

pytestmark = pytest.mark.xdist_group("live")
DRAIN = {"LIVE_DRAIN_SECONDS": "1", "LIVE_STALL_SECONDS": "30"}


@pytest.fixture
def them(me, tmp_path):
    """A customer at a process that waits one second for last results."""
    door = AsgiProcess(tmp_path, **{**SETTINGS, **DRAIN}).wait()
    customer = Customer(door, me.emulator, me.broker)
    yield customer
    door.stop()


def talk_to_the_end(customer, audio, **query):
    async def run():
        async with customer.talk(**query) as talk:
            await talk.send(audio)
            await talk.hear("transcript")
            closed = await talk.finish()
        return talk, closed

    return asyncio.run(run())


def test_results_that_still_arrive_are_waited_for(them):
    audio = make_speech(6.0)
    them.emulator.inject_fault("slow", value=0.5, times=1000)

    talk, closed = talk_to_the_end(them, audio)

    assert closed == (1000, "client_closed")
    assert talk.words == find_truth(audio)
    assert Job.objects.get().warnings == []


def test_the_last_interim_result_is_kept_and_marked_if_the_rest_never_arrives(them):
    audio = make_speech(4.0)
    them.emulator.inject_fault("stall", value=2.0, times=1000)

    talk, closed = talk_to_the_end(them, audio, interim_results="true")

    assert closed == (4504, "results_incomplete")
    assert talk.warnings == ["results_incomplete"]
    last = [each for each in talk.of("transcript") if each["is_final"]][-1]
    assert last["from_interim"]
    assert last["text"]
    job = Job.objects.get()
    assert job.status == "completed"
    assert [each["code"] for each in job.warnings] == ["results_incomplete"]
    assert read_stored(talk.job_id) == talk.words != []
