from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, connection

from jobs import calls, services
from jobs.errors import JobStateError, UpstreamError
from jobs.models import Attempt, Event, Job, Worker
from jobs.retention import erasure
from jobs.scheduling import dispatch
from jobs.state import JobStatus
from tests.support.fake_backend import FakeBackend, document
from transcripts import storage
from transcripts.models import Transcript


def events_of(job: Job) -> list[str]:
    return list(
        Event.objects.filter(job=job).order_by("id").values_list("type", flat=True)
    )


def test_a_job_is_claimed_sent_called_and_finished(engine):
    job = engine.submit(metadata={"order": "7"})

    ticked = engine.tick()

    assert [each.pk for each in ticked.claimed] == [job.pk]
    assert engine.sent() == 1
    assert engine.permits_held() == 1
    assert engine.run(job, FakeBackend()) is True
    job.refresh_from_db()
    assert (job.status, job.attempt, job.crashes) == ("completed", 1, 0)
    transcript = Transcript.objects.get(job=job)
    assert (transcript.text, transcript.words) == ("hello world", 2)
    assert storage.read_document(transcript) == document()
    assert Attempt.objects.get(job=job).outcome == "ok"
    assert events_of(job) == ["job.queued", "job.processing", "job.completed"]
    assert engine.permits_held() == 0


def test_only_the_final_event_has_deliveries_and_none_waits_for_the_fan_out(engine):
    job = engine.submit()
    engine.tick()
    engine.run(job, FakeBackend())

    told = Event.objects.filter(has_deliveries=True)

    assert [event.type for event in told] == ["job.completed"]
    assert not Event.objects.filter(fanned_out_at=None).exists()


def test_urgent_jobs_are_claimed_first_then_older_ones(engine):
    engine.announce(slots=3)
    low, normal, second, urgent = (
        engine.submit(priority=priority) for priority in (9, 6, 6, 0)
    )

    claimed = [job.pk for job in engine.tick().claimed]

    assert claimed == [urgent.pk, normal.pk, second.pk]
    assert Job.objects.get(pk=low.pk).status == "queued"


def test_no_more_is_claimed_than_permits_allow(engine):
    for _ in range(8):
        engine.submit()

    assert len(engine.tick().claimed) == 5
    assert engine.tick().claimed == []
    assert engine.permits_held() == 5


def test_no_more_is_claimed_than_live_workers_have_threads(engine):
    engine.announce(slots=2)
    for _ in range(4):
        engine.submit()

    assert len(engine.tick().claimed) == 2
    assert engine.tick().claimed == []


def test_what_a_dead_worker_holds_does_not_take_room_from_the_living(engine):
    engine.announce(slots=2)
    first = [engine.submit() for _ in range(2)]
    engine.tick()
    for job in first:
        job.refresh_from_db()
        calls.start_call(
            job_id=job.pk,
            lease_token=job.lease_token,
            worker="worker-1",
            now=datetime.now(UTC),
        )
    Worker.objects.filter(name="worker-1").update(
        seen_at=datetime.now(UTC) - timedelta(seconds=60)
    )
    engine.announce(slots=2, name="worker-2")
    engine.submit()

    assert len(engine.tick().claimed) == 1


def test_nothing_is_claimed_without_a_worker(engine):
    Worker.objects.all().delete()
    job = engine.submit()

    assert engine.tick().claimed == []
    job.refresh_from_db()
    assert job.status == "queued"


def test_nothing_is_claimed_while_redis_is_away(engine):
    job = engine.submit()
    engine.permits = type(engine.permits)(
        type(engine.broker).from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)
    )

    assert engine.tick().claimed == []
    job.refresh_from_db()
    assert (job.status, job.lease_token) == ("queued", 0)


def test_a_claim_that_cannot_be_sent_is_handed_back_with_its_permit(
    engine, monkeypatch
):
    class Away:
        def send_task(self, *args: object, **kwargs: object) -> None:
            raise ConnectionError

    job = engine.submit()
    monkeypatch.setattr(dispatch, "_celery", Away)

    engine.tick()

    job.refresh_from_db()
    assert (job.status, job.attempt, job.lease_until) == ("queued", 0, None)
    assert engine.permits_held() == 0
    monkeypatch.undo()
    assert len(engine.tick().claimed) == 1


def test_a_claim_rolled_back_gives_its_permits_back(engine, monkeypatch):
    engine.submit()

    def broken(*args: object, **kwargs: object) -> list[Job]:
        raise OperationalError

    monkeypatch.setattr(calls, "claim_jobs", broken)

    with pytest.raises(OperationalError):
        engine.tick()

    assert engine.permits_held() == 0


def test_a_message_delivered_twice_calls_once(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()

    assert engine.run(job, backend, lease_token=1) is True
    assert engine.run(job, backend, lease_token=1) is False
    assert len(backend.requests) == 1


def test_a_message_delivered_twice_at_once_calls_once(engine):
    job = engine.submit()
    engine.tick()
    inner = FakeBackend()
    backend = FakeBackend()
    backend.during = lambda: answers.append(engine.run(job, inner, lease_token=1))
    answers: list[bool] = []

    engine.run(job, backend)

    assert answers == [False]
    assert inner.requests == []


def test_an_upload_that_fails_upstream_is_tried_again_later(engine):
    job = engine.submit()
    engine.tick()
    error = UpstreamError(  # the wait alone is drawn, and may be next to nothing
        "busy", code="upstream_unavailable", status=503, retry_after=9.0
    )

    engine.run(job, FakeBackend(error))

    job.refresh_from_db()
    assert (job.status, job.ready, job.attempt) == ("queued", False, 1)
    assert job.run_at is not None
    assert Attempt.objects.get(job=job).error_code == "upstream_unavailable"
    assert engine.tick().claimed == []
    Job.objects.update(run_at=datetime.now(UTC))
    assert [each.pk for each in engine.tick().claimed] == [job.pk]


def test_a_rate_limited_call_uses_no_attempt_up(engine):
    job = engine.submit()
    engine.tick()
    error = UpstreamError(
        "slow down", code="x", status=429, failure="rate_limited", retry_after=7.0
    )

    before = datetime.now(UTC)
    engine.run(job, FakeBackend(error))

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("queued", 0)
    assert job.run_at >= before + timedelta(seconds=7)


def test_bad_media_fails_at_once_with_its_code(engine):
    job = engine.submit()
    engine.tick()
    error = UpstreamError(
        "not audio", code="audio_unreadable", status=400, failure="bad_media"
    )

    engine.run(job, FakeBackend(error))

    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "audio_unreadable")
    assert events_of(job)[-1] == "job.failed"


def test_attempts_run_out(engine):
    job = engine.submit(max_attempts=2)
    error = UpstreamError("busy", code="upstream_unavailable", status=503)

    for _ in range(2):
        Job.objects.update(run_at=datetime.now(UTC))
        engine.tick()
        engine.run(job, FakeBackend(error))

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("failed", 2)


def test_a_truncated_result_is_called_once_more_then_stands_with_a_warning(engine):
    job = engine.submit(duration_seconds=60.0)
    backend = FakeBackend(document(duration=20.0))

    for _ in range(2):
        Job.objects.update(run_at=datetime.now(UTC))
        engine.tick()
        engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, job.attempt) == ("completed", 2)
    assert [warning["code"] for warning in job.warnings] == ["duration_mismatch"]
    assert job.duration_seconds == 60.0
    outcomes = Attempt.objects.filter(job=job).order_by("id")
    assert [each.outcome for each in outcomes] == ["error", "ok"]


def test_a_completed_job_has_the_duration_of_its_transcript(engine):
    job = engine.submit(duration_seconds=60.0)
    engine.tick()

    engine.run(job, FakeBackend(document(duration=60.4)))

    job.refresh_from_db()
    assert job.duration_seconds == job.transcript.duration_seconds == 60.4


def test_canceling_during_the_call_drops_the_result_and_keeps_the_attempt(engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()
    backend.during = lambda: services.cancel_job(job=job, now=datetime.now(UTC))

    engine.run(job, backend)

    job.refresh_from_db()
    assert job.status == "canceled"
    assert not Transcript.objects.exists()
    assert Attempt.objects.get(job=job).outcome == "ok"
    folder = f"raw/{job.tenant_id}/{job.pk}"
    assert len(default_storage.listdir(folder)[1]) == 1  # until it is erased

    receipt = erasure.erase_job(job=job, actor="", now=datetime.now(UTC))

    assert receipt.erased["raw_documents"] == 1


def test_a_final_job_cannot_be_canceled(engine):
    job = engine.submit()
    engine.tick()
    engine.run(job, FakeBackend())

    with pytest.raises(JobStateError):
        services.cancel_job(job=job, now=datetime.now(UTC))


def test_canceling_twice_is_harmless(engine):
    job = engine.submit()
    now = datetime.now(UTC)

    services.cancel_job(job=job, now=now)
    services.cancel_job(job=job, now=now)

    assert events_of(job) == ["job.queued", "job.canceled"]


def test_a_deadline_that_passes_expires_the_job(engine):
    job = engine.submit(expires_at=datetime.now(UTC) - timedelta(seconds=1))

    assert engine.tick().expired == 1
    job.refresh_from_db()
    assert job.status == JobStatus.EXPIRED


def test_retrying_makes_a_new_job(engine):
    job = services.cancel_job(job=engine.submit(), now=datetime.now(UTC))

    again = services.retry_job(job=job, api_key=None, now=datetime.now(UTC))

    again.refresh_from_db()
    assert (again.status, again.retry_of_id) == ("queued", job.pk)
    assert again.options == job.options
    job.refresh_from_db()
    assert job.status == "canceled"


def test_an_open_job_cannot_be_retried(engine):
    with pytest.raises(JobStateError):
        services.retry_job(job=engine.submit(), api_key=None, now=datetime.now(UTC))


def test_no_database_connection_is_held_during_the_call(transactional_db, engine):
    job = engine.submit()
    engine.tick()
    backend = FakeBackend()
    held: list[object] = []
    backend.during = lambda: held.append(connection.connection)

    engine.run(job, backend)

    assert held == [None]
