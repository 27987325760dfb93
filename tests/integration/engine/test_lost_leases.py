from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError

from jobs import calls, services
from jobs.models import Attempt, Job
from jobs.scheduling import leases, pending_work
from jobs.scheduling.capacity import CapacitySnapshot
from tests.support.fake_backend import FakeBackend, document
from transcripts import storage
from transcripts.models import Transcript
from transcripts.outcomes import finishing, result_storage


def start(engine, job: Job) -> None:
    job.refresh_from_db()
    calls.start_call(
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

    assert ticked.requeued == 1
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
    backend = FakeBackend()
    engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "worker_crashed")
    assert Attempt.objects.filter(job=job, outcome="unknown").count() == 3
    held = "permits:{local:prerecorded}:held"
    assert engine.broker.zscore(held, f"{job.pk}.{job.lease_token}") is None


def test_of_the_jobs_of_a_dead_process_only_one_on_its_last_chance_is_blamed(engine):
    jobs = [engine.submit() for _ in range(4)]
    for _ in range(2):
        engine.broker.flushdb()  # the permits of lost claims
        engine.tick()
        for job in jobs:
            start(engine, job)
            engine.lose_lease(job)
    leases.requeue_lost(now=datetime.now(UTC))
    engine.broker.flushdb()
    assert {job.crashes for job in Job.objects.all()} == {2}
    # Three of them run well; the last one shares its process with new jobs.
    Job.objects.filter(pk__in=[job.pk for job in jobs[:3]]).update(crashes=0)
    engine.tick()
    for job in jobs:
        start(engine, job)
        engine.lose_lease(job)

    leases.requeue_lost(now=datetime.now(UTC))

    crashes = [Job.objects.get(pk=job.pk).crashes for job in jobs]
    assert crashes == [0, 0, 0, 3]


def test_jobs_on_their_last_chance_do_not_share_a_process(engine):
    engine.announce(slots=10, accepts_batches=True)
    engine.announce(slots=10, name="worker-2", accepts_batches=True)
    jobs = [engine.submit() for _ in range(5)]
    Job.objects.filter(pk__in=[job.pk for job in jobs[:3]]).update(crashes=2)

    engine.tick()

    fragile = Job.objects.filter(crashes=2, status="processing")
    assert sorted(job.worker for job in fragile) == ["worker-1", "worker-2"]
    assert Job.objects.filter(crashes=2, status="queued", ready=False).count() == 1
    assert Job.objects.filter(crashes=0, status="processing").count() == 2


def test_nothing_is_taken_back_before_this_dispatcher_was_up_a_lease(engine):
    job = engine.submit()
    engine.tick()
    start(engine, job)
    engine.lose_lease(job)

    ticked = engine.tick(up_since=datetime.now(UTC) - timedelta(seconds=1))

    assert ticked.requeued == 0


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
    commit = finishing.commit

    def flaky(*args: object) -> None:
        for error in answers:
            raise error
        commit(*args)

    monkeypatch.setattr(finishing.committer, "_commit", flaky)

    engine.run(job, FakeBackend())

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("completed", 1)


def test_a_document_stays_when_the_commit_held_and_its_answer_was_lost(
    transactional_db, engine, monkeypatch
):
    job = engine.submit()
    engine.tick()
    answers = iter([OperationalError("the connection broke after COMMIT")])
    commit = finishing.commit

    def lose_answer(*args: object) -> None:
        commit(*args)
        for error in answers:
            raise error

    monkeypatch.setattr(finishing.committer, "_commit", lose_answer)

    engine.run(job, FakeBackend())

    transcript = Transcript.objects.get(job=job)
    assert storage.read_document(transcript) == document()


@pytest.mark.parametrize("end", ["canceled", "expired"])
def test_a_call_of_a_job_that_was_ended_does_not_stay_open(engine, end):
    job = engine.submit()
    engine.tick()
    start(engine, job)  # its worker dies now, or goes on: nobody can tell

    end_from_outside(job, end)

    attempt = Attempt.objects.get(job=job)
    assert (attempt.outcome, attempt.error_code) == ("unknown", "let_go")
    assert Job.objects.get(pk=job.pk).status == end


def test_a_living_worker_says_how_the_call_of_a_canceled_job_ended(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()
    backend.during = lambda: end_from_outside(job, "canceled")

    engine.run(job, backend)

    attempt = Attempt.objects.get(job=job)
    assert (attempt.outcome, attempt.error_code) == ("ok", "")
    assert attempt.cost_estimate is not None
    assert not Transcript.objects.exists()


def end_from_outside(job: Job, end: str) -> None:
    now = datetime.now(UTC)
    if end == "canceled":
        services.cancel_job(job=job, now=now)
    else:
        Job.objects.filter(pk=job.pk).update(expires_at=now - timedelta(seconds=1))
        leases.expire(now=now)


def test_a_recall_that_comes_too_late_leaves_the_running_call_its_permit(
    engine, monkeypatch
):
    job = engine.submit()
    engine.tick()
    waited = datetime.now(UTC) + services.lease_time() - 1.2 * pending_work.RECALL_AFTER
    Job.objects.filter(pk=job.pk).update(lease_until=waited)

    def start_meanwhile(*_args: object) -> int:
        start(engine, job)
        return -1

    monkeypatch.setattr(CapacitySnapshot, "free_of_queue", start_meanwhile)

    engine.tick()

    job.refresh_from_db()
    assert (job.status, job.started_at is not None) == ("processing", True)
    assert engine.permits_held() == 1


def test_a_late_result_completes_a_job_that_was_taken_back_and_not_yet_claimed(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()

    def lose_without_another_worker() -> None:
        engine.lose_lease(job)
        leases.requeue_lost(now=datetime.now(UTC))
        assert Job.objects.get(pk=job.pk).status == "queued"

    backend.during = lose_without_another_worker
    engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, job.attempt, job.crashes) == ("completed", 1, 1)
    assert Attempt.objects.get(job=job).outcome == "ok"
    assert engine.tick().claimed == []


def test_a_paid_result_is_kept_when_storage_comes_back(
    transactional_db, engine, monkeypatch
):
    job = engine.submit()
    engine.tick()
    errors = iter([OSError("disk"), OSError("disk")])
    store = storage.store_object

    def flaky(*args: object) -> str:
        for error in errors:
            raise error
        return store(*args)

    monkeypatch.setattr(storage, "store_object", flaky)
    monkeypatch.setattr(result_storage, "CHECK_SECONDS", 0.01)

    engine.run(job, FakeBackend())

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("completed", 1)
