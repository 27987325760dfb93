"""What an end gives back to quotas and what it counts, whatever way it came."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import OperationalError

from jobs import calls, services
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job, QuotaCounter
from jobs.quotas import counters as quota_counts
from jobs.quotas import quotas
from jobs.scheduling import leases
from tests.support.fake_backend import FakeBackend, document
from transcripts.outcomes import finishing
from workers.deepgram import reconcile


@pytest.fixture
def engine(engine):
    engine.tenant.audio_seconds_per_month = 1000
    engine.tenant.save()
    yield engine
    # Whatever a test did, the counters say what the rows say.
    now = datetime.now(UTC)
    assert quota_counts.find_drift(engine.tenant, now=now) == []


def counted(kind: str = "month") -> tuple[Decimal, Decimal]:
    row = QuotaCounter.objects.get(period__startswith=kind)
    return row.used, row.reserved


def test_what_was_transcribed_takes_the_place_of_what_was_reserved(engine):
    job = engine.submit(duration_seconds=4.0)
    assert (counted(), counted("open")) == ((0, 4), (0, 1))
    engine.tick()
    assert counted() == (0, 4)

    engine.run(job, FakeBackend(document(duration=3.5)))

    assert counted() == counted("day") == (Decimal("3.5"), 0)
    assert counted("open") == (0, 0)


def test_a_guess_that_was_too_low_is_made_good(engine, settings):
    settings.DEFAULT_RESERVE_SECONDS = 1
    job = engine.submit()
    engine.tick()

    engine.run(job, FakeBackend(document(duration=2000)))

    assert counted() == (2000, 0)


def test_a_call_that_failed_for_good_gives_all_back(engine):
    job = engine.submit()
    engine.tick()

    engine.run(job, FakeBackend(UpstreamError("no", failure="bad_options")))

    assert Job.objects.get().status == "failed"
    assert (counted(), counted("open")) == ((0, 0), (0, 0))


def test_a_job_that_will_be_tried_again_keeps_what_it_reserved(engine):
    job = engine.submit()
    engine.tick()

    engine.run(job, FakeBackend(UpstreamError("busy")))

    assert Job.objects.get().status == "queued"
    assert (counted(), counted("open")) == ((0, 300), (0, 1))


@pytest.mark.parametrize("end", ["canceled", "expired"])
def test_a_job_ended_before_its_call_gives_all_back(engine, end):
    end_from_outside(engine.submit(), end)

    assert (counted(), counted("open")) == ((0, 0), (0, 0))


@pytest.mark.parametrize("end", ["canceled", "expired"])
def test_a_paid_result_after_the_end_is_counted(engine, end):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend(document(duration=8))
    seen = []

    def end_it() -> None:
        end_from_outside(job, end)
        seen.append(counted())

    backend.during = end_it
    engine.run(job, backend)

    assert Attempt.objects.get().outcome == "ok"
    assert seen == [(0, 0)]
    assert counted() == (8, 0)


def test_a_stale_claims_paid_result_is_counted_with_its_jobs_end(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend(document(duration=8))

    def lose_and_reclaim() -> None:
        engine.lose_lease(job)
        engine.tick()

    backend.during = lose_and_reclaim
    engine.run(job, backend)
    assert counted() == (0, 300)

    engine.run(job, FakeBackend())  # adopts the stored result

    assert counted() == (8, 0)


def test_a_job_that_took_its_workers_down_gives_back_what_nobody_transcribed(
    engine, settings
):
    settings.MAX_CRASHES = 1
    job = engine.submit()
    engine.tick()
    job.refresh_from_db()
    calls.start_call(
        job_id=job.pk,
        lease_token=job.lease_token,
        worker="w",
        now=datetime.now(UTC),
    )
    engine.lose_lease(job)

    engine.tick()
    engine.run(job, FakeBackend())  # not called: it fails instead

    assert Job.objects.get().status == "failed"
    assert Attempt.objects.get().outcome == "unknown"
    assert (counted(), counted("open")) == ((0, 0), (0, 0))


def test_a_call_that_the_upstreams_log_has_is_counted_then(engine):
    job = engine.submit()
    engine.tick()
    job.refresh_from_db()
    started = calls.start_call(
        job_id=job.pk,
        lease_token=job.lease_token,
        worker="w",
        now=datetime.now(UTC),
    )
    end_from_outside(job, "canceled")
    entry = {"code": 200, "response": {"details": {"duration": 9.25}}}

    for _ in range(2):
        reconcile._update(started[1], entry, now=datetime.now(UTC))

    assert Attempt.objects.get().outcome == "ok"
    assert counted() == (Decimal("9.25"), 0)


def test_an_end_that_does_not_commit_settles_nothing(engine, monkeypatch):
    job = engine.submit()
    engine.tick()

    def break_off(*_args: object, **_kwargs: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(finishing, "write_transcripts", break_off)
    with pytest.raises(OperationalError):
        engine.run(job, FakeBackend())

    assert Job.objects.get().status == "processing"
    assert (counted(), counted("open")) == ((0, 300), (0, 1))


def test_a_job_counts_in_the_day_and_month_of_its_submit(engine):
    with time_machine.travel(datetime(2026, 11, 30, 23, 59, tzinfo=UTC), tick=False):
        job = engine.submit()
    with time_machine.travel(datetime(2026, 12, 1, 0, 1, tzinfo=UTC), tick=False):
        other = engine.submit()
        for each in (job, other):
            services.cancel_job(job=each, now=datetime.now(UTC))
            transcribe_late(each, seconds=5 if each == job else 7)

    rows = QuotaCounter.objects.exclude(period="open").order_by("period")
    assert [(row.period, row.used, row.reserved) for row in rows] == [
        ("day:2026-11-30", 5, 0),
        ("day:2026-12-01", 7, 0),
        ("month:2026-11", 5, 0),
        ("month:2026-12", 7, 0),
    ]


def test_nonsense_of_an_upstream_is_no_answer_and_is_not_counted(engine):
    job = engine.submit()
    engine.tick()

    engine.run(job, FakeBackend(document(duration=1e9)))

    assert Job.objects.get().status == "queued"
    assert counted()[0] == 0


def test_an_answer_that_is_not_taken_is_paid_for_all_the_same(engine):
    job = engine.submit(duration_seconds=100)
    engine.tick()

    engine.run(job, FakeBackend(document(duration=7)))

    attempt = Attempt.objects.get()
    assert Job.objects.get().status == "queued"
    assert (attempt.outcome, attempt.audio_seconds) == ("error", 7)
    assert attempt.cost_estimate is not None


def transcribe_late(job: Job, *, seconds: float) -> None:
    attempt = Attempt.objects.create(
        job=job,
        tenant=job.tenant,
        lease_token=1,
        region_id="local",
        outcome="ok",
        audio_seconds=seconds,
        started_at=job.created_at,
        finished_at=job.created_at,
    )
    quotas.count_late(attempt)


def end_from_outside(job: Job, end: str) -> None:
    now = datetime.now(UTC)
    if end == "canceled":
        services.cancel_job(job=job, now=now)
    else:
        Job.objects.filter(pk=job.pk).update(expires_at=now - timedelta(seconds=1))
        leases.expire(now=now)
