from datetime import UTC, datetime, timedelta

from django.db import OperationalError

from jobs import services
from jobs.models import Attempt, Job
from tests.fakes.backend import FakeBackend
from transcripts import services as transcripts
from transcripts.models import Transcript


def start(engine, job: Job) -> None:
    job.refresh_from_db()
    services.start_call(
        job_id=job.pk,
        lease_token=job.lease_token,
        worker="worker-1",
        now=datetime.now(UTC),
    )


def test_a_claim_that_never_began_goes_back_and_counts_nothing(engine):
    job = engine.submit()
    engine.tick()
    engine.lose_lease(job)

    ticked = engine.tick()

    assert ticked.taken_back == 1
    job.refresh_from_db()
    assert (job.attempt, job.crashes, job.lease_token) == (0, 0, 2)
    assert not Attempt.objects.exists()


def test_a_call_that_had_begun_is_unknown_and_the_job_runs_again(engine):
    job = engine.submit()
    engine.tick()
    start(engine, job)
    engine.lose_lease(job)

    engine.tick()

    assert Attempt.objects.get(job=job).outcome == "unknown"
    job.refresh_from_db()
    assert (job.status, job.crashes) == ("processing", 1)
    assert engine.run(job, FakeBackend()) is True
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("completed", 2)


def test_a_job_that_kills_three_workers_fails(engine):
    job = engine.submit()
    for _ in range(3):
        engine.tick()
        start(engine, job)
        engine.lose_lease(job)

    engine.tick()

    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "worker_crashed")
    assert Attempt.objects.filter(job=job, outcome="unknown").count() == 3


def test_nothing_is_taken_back_before_this_dispatcher_was_up_a_lease(engine):
    job = engine.submit()
    engine.tick()
    start(engine, job)
    engine.lose_lease(job)

    ticked = engine.tick(up_since=datetime.now(UTC) - timedelta(seconds=1))

    assert ticked.taken_back == 0


def test_a_late_result_is_kept_while_nobody_else_has_claimed(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()
    backend.during = lambda: engine.lose_lease(job)

    engine.run(job, backend)

    job.refresh_from_db()
    assert job.status == "completed"


def test_a_late_worker_cannot_finish_the_next_claim(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()

    def lose_and_reclaim() -> None:
        engine.lose_lease(job)
        engine.tick()

    backend.during = lose_and_reclaim
    engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, job.lease_token) == ("processing", 2)
    assert not Transcript.objects.exists()
    assert engine.run(job, FakeBackend()) is True
    assert Transcript.objects.count() == 1


def test_a_late_worker_closes_the_attempt_that_was_thought_lost(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()

    def lose_and_reclaim() -> None:
        engine.lose_lease(job)
        engine.tick()
        assert Attempt.objects.get().outcome == "unknown"

    backend.during = lose_and_reclaim
    engine.run(job, backend)

    assert Attempt.objects.get().outcome == "ok"


def test_a_paid_result_is_committed_when_the_database_comes_back(
    transactional_db, engine, monkeypatch
):
    job = engine.submit()
    engine.tick()
    answers = iter([OperationalError("gone"), OperationalError("gone")])
    finish = transcripts.finish

    def flaky(*args: object, **kwargs: object) -> None:
        for error in answers:
            raise error
        finish(*args, **kwargs)

    monkeypatch.setattr(transcripts, "finish", flaky)

    engine.run(job, FakeBackend())

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("completed", 1)
