from datetime import UTC, datetime, timedelta

import pytest

from jobs.models import Attempt, Job
from jobs.scheduling.queue_position import find_queue_position
from tests.support.fake_backend import FakeBackend, document


def test_the_standing_is_within_the_tenants_own_queue(engine):
    engine.submit(duration_seconds=30.0, priority=0)
    engine.submit(duration_seconds=90.0)
    job = engine.submit(duration_seconds=10.0)
    engine.submit(priority=9)

    standing = find_queue_position(job, now=datetime.now(UTC))

    assert (standing.position, standing.audio_seconds_ahead) == (3, 120.0)
    assert standing.eta_seconds is None  # nothing was measured yet


def test_audio_of_unknown_length_is_taken_for_the_usual(engine):
    engine.submit(duration_seconds=30.0)
    engine.submit()
    job = engine.submit()

    standing = find_queue_position(job, now=datetime.now(UTC))

    assert standing.audio_seconds_ahead == 60.0


def test_the_time_is_measured_on_recent_work(engine):
    done = engine.submit(duration_seconds=100.0)
    engine.tick()
    engine.run(done, FakeBackend(document(duration=100.0)))
    now = datetime.now(UTC)
    Attempt.objects.update(started_at=now - timedelta(seconds=50))
    engine.submit(duration_seconds=60.0)
    job = engine.submit()

    standing = find_queue_position(job, now=now)

    assert standing.eta_seconds == pytest.approx(30.0, rel=0.05)


def test_what_does_not_wait_for_its_turn_stands_nowhere(engine):
    job = engine.submit()
    engine.tick()
    job.refresh_from_db()
    assert find_queue_position(job, now=datetime.now(UTC)) is None

    Job.objects.update(status="queued", lease_until=None, ready=False)
    job.refresh_from_db()
    assert find_queue_position(job, now=datetime.now(UTC)) is None
