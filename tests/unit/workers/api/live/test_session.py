"""How long a session may go on without audio, and which end when places are needed."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest

from jobs.errors import ServiceUnavailable
from workers.api.live import registry, session
from workers.api.live.registry import SessionRegistry
from workers.api.live.session import LiveSession
from workers.api.live.wire_format import PlatformWireFormat

TENANT = SimpleNamespace(pk=uuid4(), max_in_flight=None)
OTHER = SimpleNamespace(pk=uuid4(), max_in_flight=None)


class Silent:
    """A session that had no audio for so long."""

    def __init__(self, tenant, seconds):
        self.region_and_tenant, self.seconds, self.ended = (
            ("local", tenant.pk),
            seconds,
            False,
        )

    def silent_for(self, _now):
        return self.seconds

    def close_from_thread(self, name, **_values):
        self.ended = name == "no_audio_while_others_wait"


@pytest.fixture
def ledger(monkeypatch):
    """Return the tenants that a full region refused."""
    refused = set()
    permits = SimpleNamespace(find_refused=lambda _region: refused)
    monkeypatch.setattr(registry, "get_permits", lambda: permits)
    return refused


async def run_session(*, audio: bool):
    """Return why a session ends whose client keeps it alive, and nothing else."""
    job = SimpleNamespace(
        pk=uuid4(), options={"encoding": "mulaw", "sample_rate": 8000}
    )
    opened = SimpleNamespace(job=job, attempt=None, wire_format=PlatformWireFormat())

    async def receive():
        await asyncio.sleep(0.01)
        if audio:
            return {"type": "websocket.receive", "bytes": bytes(80)}
        return {"type": "websocket.receive", "text": '{"type":"keepalive"}'}

    made = LiveSession(opened, session.ClientSocket(receive, None))
    made._texts.left = 1000.0
    tasks = [asyncio.create_task(each) for each in (made._read(), made._watch())]
    done, _ = await asyncio.wait([made._closed], timeout=0.6)
    for task in tasks:
        task.cancel()
    return made._closed.result() if done else None


def test_keepalives_alone_keep_no_session_for_ever(settings, monkeypatch):
    settings.LIVE_KEEPALIVE_SECONDS = 0.2
    monkeypatch.setattr(session, "TICK_SECONDS", 0.02)

    end = asyncio.run(run_session(audio=False))

    assert (end.code, end.error_code) == (4408, "stream_without_audio")
    assert asyncio.run(run_session(audio=True)) is None


def test_only_sessions_that_were_silent_for_long_yield(ledger, settings):
    settings.LIVE_KEEPALIVE_CONTENDED_SECONDS = 60
    here = [Silent(TENANT, 61), Silent(TENANT, 59), Silent(OTHER, 61)]
    sessions = SessionRegistry()
    for each in here:
        sessions.enter(uuid4(), each)

    sessions.close_silent_sessions()
    before = [each.ended for each in here]
    ledger.add(OTHER.pk)
    sessions.close_silent_sessions()

    assert before == [False, False, False]
    assert [each.ended for each in here] == [True, False, False]


def test_a_process_is_shared_as_a_region_is(ledger, settings):
    settings.LIVE_SESSIONS_MAX = 4
    sessions = SessionRegistry()
    silent = Silent(TENANT, 61)
    sessions.enter(uuid4(), silent)
    for tenant in (TENANT, TENANT, OTHER):
        sessions.acquire_slot(tenant)

    with pytest.raises(ServiceUnavailable):
        sessions.acquire_slot(TENANT)
    sessions.close_silent_sessions()
    assert not silent.ended  # there is room for others
    sessions.acquire_slot(OTHER)
    with pytest.raises(ServiceUnavailable):
        sessions.acquire_slot(OTHER)
    sessions.close_silent_sessions()

    assert silent.ended
    sessions.leave(TENANT.pk)
    sessions.acquire_slot(SimpleNamespace(pk=TENANT.pk, max_in_flight=3))
    assert len(sessions) == 4
