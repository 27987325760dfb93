"""What becomes of sessions when a process ends: theirs, or the upstream's."""

import asyncio
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import psutil
import pytest

from jobs.models import Attempt, Job, Region
from tests.support import ROOT
from tests.support.asgi_process import AsgiProcess
from tests.support.live_client import SETTINGS, Customer, LiveClient
from tests.support.live_streams import find_truth, make_speech, read_stored
from tests.support.waiting import port_is_open
from transcripts.live import sessions as live_sessions
from workers.embedded.processes import free_port, wait_until

pytestmark = pytest.mark.xdist_group("live")


def visit(me, door) -> Customer:
    """Return the same customer at another door."""
    them = Customer(door, me.emulator, me.broker)
    them.text = me.text
    return them


def test_sigterm_ends_sessions_with_all_that_was_said(me, tmp_path):
    audio = make_speech(3.3, seed=5)
    door = AsgiProcess(tmp_path, **SETTINGS).wait()
    them = visit(me, door)

    async def session():
        async with them.talk() as talk:
            await talk.send(audio)
            await talk.hear("transcript", end=3.0)  # so all of it has come
            await asyncio.sleep(0.2)
            sent.release()
            return talk, await talk.end()

    async def run():
        sessions = [asyncio.create_task(session()) for _ in range(3)]
        for _ in sessions:
            await sent.acquire()
        door.process.send_signal(signal.SIGTERM)
        return await asyncio.gather(*sessions)

    sent = asyncio.Semaphore(0)
    try:
        ended = asyncio.run(run())
        assert door.process.wait(timeout=10) == 0
    finally:
        door.process.kill()
        door.process.wait()

    assert [closed for _, closed in ended] == [(1001, "shutdown")] * 3
    for talk, _ in ended:
        assert talk.words == find_truth(audio)
        assert read_stored(talk.job_id) == talk.words
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"ok"}
    assert me.is_free()


def test_what_was_told_as_final_outlives_the_process(me, tmp_path):
    door = AsgiProcess(tmp_path, **{**SETTINGS, "LEASE_SECONDS": "1"}).wait()
    them = visit(me, door)

    async def run():
        async with them.talk() as talk:
            await talk.send(make_speech(9.0, seed=6))
            await talk.hear("transcript", is_final=True)
            await talk.hear("transcript", is_final=True)
            kill_tree(door.process)
            talk.socket.transport.abort()
        return talk

    talk = asyncio.run(run())

    assert wait_until(lambda: live_sessions.close_abandoned() == 1, seconds=5)
    job = Job.objects.get()
    assert job.status == "completed"
    assert "session_interrupted" in [each["code"] for each in job.warnings]
    assert set(talk.words) <= set(read_stored(str(job.pk)))
    assert Attempt.objects.get().outcome == "unknown"


class Mortal:
    """An upstream at one address, killed and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        words = ("-m", "workers.emulator", "--port", str(self.port))
        self.process = subprocess.Popen([sys.executable, *words], cwd=ROOT)
        assert wait_until(lambda: port_is_open(self.port), seconds=30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def mortal():
    upstream = Mortal()
    yield upstream
    upstream.kill()


def test_no_word_is_missing_when_the_upstream_is_killed_twice(me, mortal):
    """The short round of ``python -m tests.bench live``, each step when it is due."""
    Region.objects.update(base_url=mortal.url)
    speeches = [make_speech(12.0, seed=number) for number in range(5)]
    third = len(speeches[0]) // 3

    async def hear(talks: list[LiveClient], kind: str, **fields: Any) -> None:
        await asyncio.gather(*(talk.hear(kind, **fields) for talk in talks))

    async def run() -> list[tuple[LiveClient, tuple[int, str]]]:
        async with AsyncExitStack() as stack:
            talks = [await stack.enter_async_context(me.talk()) for _ in speeches]
            for talk in talks:
                await stack.enter_async_context(talk.kept_alive())
            for number in range(2):
                for talk, audio in zip(talks, speeches, strict=True):
                    await talk.send(audio[number * third : (number + 1) * third])
                await hear(talks, "transcript")
                await asyncio.to_thread(mortal.kill)
                await hear(talks, "warning", code="upstream_reconnecting")
                await asyncio.to_thread(mortal.start)
                await hear(talks, "warning", code="upstream_reconnected")
            for talk, audio in zip(talks, speeches, strict=True):
                await talk.send(audio[2 * third :])
            return [(talk, await talk.finish()) for talk in talks]

    ended = asyncio.run(run())

    for (talk, closed), audio in zip(ended, speeches, strict=True):
        assert closed == (1000, "client_closed")
        assert talk.words == find_truth(audio)
        assert read_stored(talk.job_id) == talk.words
    assert me.is_free()


def kill_tree(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children with SIGKILL."""
    root = psutil.Process(process.pid)
    for each in (*root.children(recursive=True), root):
        each.kill()
    process.wait()
