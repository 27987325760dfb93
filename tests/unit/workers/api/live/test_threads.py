"""How live sessions end beside each other."""

import asyncio
import threading
import time

import pytest

from workers.api.live import threads

pytestmark = pytest.mark.django_db  # a thread gives its connection back


@pytest.fixture(autouse=True)
def turn(monkeypatch):
    """A semaphore belongs to the loop that used it."""
    monkeypatch.setattr(threads, "_end_lock", asyncio.Semaphore(1))


def end_together(function, number):
    async def run():
        ends = (threads.in_closing_thread(function) for _ in range(number))
        await asyncio.gather(*ends)

    asyncio.run(run())


def test_sessions_end_one_after_another(monkeypatch):
    monkeypatch.setattr(
        threads, "END_INTERVAL_SECONDS", 60
    )  # however slow the machine is
    busy, met = threading.Lock(), []

    def end():
        met.append(not busy.acquire(blocking=False))
        time.sleep(0.001)
        busy.release()

    end_together(end, 20)

    assert met == [False] * 20


def test_who_waits_for_something_keeps_nobody(monkeypatch):
    monkeypatch.setattr(threads, "END_INTERVAL_SECONDS", 0.01)
    all_here = threading.Barrier(4, timeout=10)

    end_together(all_here.wait, 4)  # breaks unless all four wait in it
