"""A page of events leaves the event loop to others between its parts."""

import asyncio
from types import SimpleNamespace
from unittest.mock import Mock

from workers.api.events import hub, stream
from workers.api.events.listener import CHUNK


class Turns:
    """Counts how often others had their turn."""

    def __init__(self):
        self.count = 0

    async def run(self):
        while True:
            self.count += 1
            await asyncio.sleep(0)


def make_page(told):
    return SimpleNamespace(events=told, position=1, is_full=False)


def test_others_have_their_turn_while_a_page_is_handed_out(monkeypatch):
    monkeypatch.setattr(hub.sse, "format_platform_event", lambda _event: b"x")
    offered = []
    listener = Mock(filters=SimpleNamespace(tenant_id=1, has=lambda _told: True))
    listener.offer = lambda told, _encoded: offered.append(told)
    told = [SimpleNamespace(tenant_id=1) for _ in range(10 * CHUNK)]

    async def run():
        looked, turns = hub.ListenerHub(), Turns()
        looked._listeners.add(listener)
        counting = asyncio.create_task(turns.run())
        await looked._distribute(make_page(told))
        counting.cancel()
        return turns.count

    assert asyncio.run(run()) >= 9
    assert offered == told


def test_what_was_missed_is_sent_in_parts(monkeypatch):
    monkeypatch.setattr(stream.sse, "format_platform_event", lambda _event: b"x")
    told = list(range(2 * CHUNK + 1))

    async def read_page(*_args, **_named):
        return make_page(told)

    monkeypatch.setattr(stream, "in_thread", read_page)
    listener = SimpleNamespace(
        filters=SimpleNamespace(tenant_id=1, job_id=None, has=lambda _told: True),
        position=0,
        covered_since=1,
        end=None,
    )

    async def run():
        turns = Turns()
        counting = asyncio.create_task(turns.run())
        parts = [part async for part in stream._read_missed(listener)]
        counting.cancel()
        return parts, turns.count

    parts, turns = asyncio.run(run())
    assert [len(part) for part in parts] == [CHUNK, CHUNK, 1]
    assert [each for part in parts for each, _ in part] == told
    assert turns >= 2
