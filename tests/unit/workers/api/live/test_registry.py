"""After a session that flooded, its tenant waits a moment for the next."""

import pytest

from jobs.errors import LimitExceeded
from jobs.models import Tenant
from workers.api.live import registry as module
from workers.api.live.registry import SessionRegistry


def test_the_next_session_after_a_flood_waits_and_others_do_not(settings, monkeypatch):
    settings.LIVE_SESSIONS_MAX = 10
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    registry, flooder, other = SessionRegistry(), Tenant(), Tenant()

    registry.delay_after_flood(flooder.pk)

    with pytest.raises(LimitExceeded) as refused:
        registry.acquire_slot(flooder)
    assert refused.value.retry_after == 2
    registry.acquire_slot(other)
    now[0] += 2.1
    registry.acquire_slot(flooder)
