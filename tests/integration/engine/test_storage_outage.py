"""A paid response outlives an outage of the object storage."""

import gzip
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from jobs.models import Attempt, Job, Worker
from jobs.retention import erasure
from tests.support.fake_backend import FakeBackend
from transcripts import storage
from transcripts.models import Transcript
from transcripts.outcomes import result_storage, spool
from workers.liveness.heartbeat import Heartbeat


@pytest.fixture
def outage(monkeypatch, settings, tmp_path):
    """Make the storage unavailable; returns the function that ends the outage."""
    settings.FINISH_GRACE_SECONDS = 0.3
    settings.SPOOL_ROOT = tmp_path / "spool"
    monkeypatch.setattr(
        result_storage.threading, "Thread", lambda **_: type("T", (), {"start": int})
    )
    store = storage.store_object

    def fail(*_args: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage, "store_object", fail)
    yield lambda: monkeypatch.setattr(storage, "store_object", store)
    result_storage._is_unavailable.clear()


def run_during(engine, job: Job) -> None:
    engine.tick()
    engine.run(job, FakeBackend())
    job.refresh_from_db()


def test_after_the_grace_the_attempt_is_unknown_and_nothing_is_counted(engine, outage):
    job = engine.submit()

    run_during(engine, job)

    attempt = Attempt.objects.get(job=job)
    assert (attempt.outcome, attempt.error_code) == ("unknown", "storage_unavailable")
    assert (job.status, job.attempt, job.crashes) == ("queued", 0, 0)
    assert engine.permits_held() == 0
    assert not result_storage.is_available()


def test_the_spooled_result_is_encrypted_and_adopted_after_a_restart(
    engine, outage, settings
):
    job, backend = engine.submit(), FakeBackend()
    run_during(engine, job)
    (spooled,) = Path(settings.SPOOL_ROOT).glob("*.spool")
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(spooled.read_bytes())
    outage()

    result_storage.drain_spool()  # as a worker does before it claims jobs
    Job.objects.update(ready=True, run_at=None)
    engine.tick()
    engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, backend.requests) == ("completed", [])
    assert Transcript.objects.get(job=job).text == "hello world"
    assert Attempt.objects.get(job=job).outcome == "ok"
    assert list(Path(settings.SPOOL_ROOT).iterdir()) == []


def test_the_spool_has_a_limit(engine, outage, settings):
    settings.SPOOL_MAX_BYTES = 10

    run_during(engine, engine.submit())

    assert list(Path(settings.SPOOL_ROOT).glob("*.spool")) == []


def test_what_was_spooled_of_an_erased_job_is_not_stored(engine, outage, settings):
    job = engine.submit()
    run_during(engine, job)
    Job.objects.update(
        status="canceled", finished_at=timezone.now(), run_at=None, ready=False
    )
    outage()
    job.refresh_from_db()
    name = storage.name_of_result(Attempt.objects.get())
    content = spool._path_of(name).read_bytes()
    erasure.erase_job(job=job, actor="", now=timezone.now())
    assert not spool._path_of(name).exists()
    spool._path_of(name).write_bytes(content)  # of another machine

    assert spool.drain() == 0
    assert not spool._path_of(name).exists()


def test_a_process_without_storage_announces_no_slots(engine, outage):
    heartbeat = Heartbeat(
        queues=["transcribe.local"],
        slots=5,
        permits=engine.permits,
        name="w",
        accepts_claims=result_storage.is_available,
    )
    heartbeat.beat()
    assert Worker.objects.get(name="w").slots == 5
    run_during(engine, engine.submit())

    heartbeat.beat()

    assert Worker.objects.get(name="w").slots == 0


def test_a_claim_whose_documents_cannot_be_looked_up_returns_to_the_queue(
    engine, monkeypatch, outage
):
    job, backend = engine.submit(), FakeBackend()
    run_during(engine, job)
    Job.objects.update(ready=True, run_at=None)
    engine.tick()

    def fail(_attempt: object) -> None:
        raise OSError("unavailable")

    monkeypatch.setattr(storage, "find_result", fail)
    engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, job.ready, backend.requests) == ("queued", False, [])
    assert job.run_at > timezone.now()  # not claimed again at once


def test_an_error_of_the_buckets_client_is_an_outage(engine, monkeypatch, settings):
    settings.FINISH_GRACE_SECONDS = 0.3
    settings.SPOOL_ROOT = settings.MEDIA_ROOT / "spool"
    monkeypatch.setattr(result_storage, "report_unavailable", lambda: None)

    class Bucket:
        def save(self, *_args: object) -> str:
            raise EndpointConnectionError(endpoint_url="https://bucket.example")

        open = save

    monkeypatch.setattr(storage, "default_storage", Bucket())
    job = engine.submit()

    run_during(engine, job)

    assert (job.status, job.attempt, job.crashes) == ("queued", 0, 0)
    with pytest.raises(OSError, match="unavailable"):
        storage.find_result(Attempt.objects.get(job=job))


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, OSError])
def test_a_worker_starts_although_its_spool_cannot_be_drained(monkeypatch, error):
    reports: list[int] = []

    def fail() -> int:
        raise error

    monkeypatch.setattr(spool, "drain", fail)
    monkeypatch.setattr(result_storage, "report_unavailable", lambda: reports.append(1))

    result_storage.drain_spool()

    assert reports == [1]
