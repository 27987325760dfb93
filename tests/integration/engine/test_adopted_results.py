"""A stored response is never paid for twice, whoever commits first."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from jobs import calls, services
from jobs.calls import JobClaim
from jobs.models import Attempt, Job
from jobs.retention import erasure
from tests.support.fake_backend import FakeBackend, document
from transcripts import storage
from transcripts.documents import parse_summary
from transcripts.models import Transcript
from transcripts.outcomes import adoption, finishing
from transcripts.outcomes.finishing import FinishedCall, StoredResult


def die_after_storing(engine, job: Job, stored: bytes | None = None) -> FinishedCall:
    """Start the call, store its result and lose the lease; return what was not commited."""
    engine.tick()
    job.refresh_from_db()
    ((started, attempt),) = calls.start_calls(
        [JobClaim(job.pk, job.lease_token)], worker="worker-1", now=timezone.now()
    )
    if stored is None:
        stored = gzip.compress(json.dumps(document()).encode())
    name = storage.store_object(storage.name_of_result(attempt), stored)
    engine.lose_lease(job)
    summary = parse_summary(document())
    result = StoredResult(raw=name, summary=summary, request_id="r-1")
    return FinishedCall(job=started, attempt=attempt, holder=engine, result=result)


def claim_again(engine, job: Job, backend: FakeBackend) -> None:
    Job.objects.filter(status="queued").update(ready=True, run_at=None)
    engine.tick()
    engine.run(job, backend)
    job.refresh_from_db()


def test_the_next_claim_adopts_the_stored_result_without_a_call(engine):
    job, backend = engine.submit(), FakeBackend()
    die_after_storing(engine, job)

    claim_again(engine, job, backend)

    attempt = Attempt.objects.get(job=job)
    assert backend.requests == []
    assert (job.status, job.attempt) == ("completed", 1)
    assert (attempt.outcome, attempt.error_code) == ("ok", "")
    assert attempt.cost_estimate is not None
    assert Transcript.objects.get(job=job).request_id == "r-1"
    held = "permits:{local:prerecorded}:held"
    assert engine.broker.zscore(held, f"{job.pk}.2") is None


def test_an_old_worker_that_commits_after_the_adopter_changes_nothing(engine):
    job, backend = engine.submit(), FakeBackend()
    late = die_after_storing(engine, job)
    claim_again(engine, job, backend)

    finishing.commit([late], timezone.now())

    assert Attempt.objects.filter(job=job).count() == 1
    transcript = Transcript.objects.get(job=job)
    assert storage.read_document(transcript) == document()


def test_an_old_worker_that_commits_before_the_adopter_is_counted_once(engine):
    job, backend = engine.submit(), FakeBackend()
    late = die_after_storing(engine, job)
    engine.tick()  # requeued and claimed again
    finishing.commit([late], timezone.now())
    attempt = Attempt.objects.get(job=job)
    assert (attempt.outcome, Job.objects.get().status) == ("ok", "processing")

    engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, job.attempt, backend.requests) == ("completed", 1, [])
    assert Attempt.objects.filter(job=job).count() == 1


def test_a_partial_document_is_not_adopted(engine):
    job, backend = engine.submit(), FakeBackend()
    whole = gzip.compress(json.dumps(document()).encode())
    die_after_storing(engine, job, stored=whole[:-9])

    claim_again(engine, job, backend)

    assert len(backend.requests) == 1
    assert (job.status, job.attempt) == ("completed", 2)


def test_a_suspect_result_is_adopted_as_the_one_that_may_be_repeated(engine):
    job, backend = (
        engine.submit(duration_seconds=60.0),
        FakeBackend(document(duration=60.0)),
    )
    die_after_storing(engine, job)  # of two seconds

    claim_again(engine, job, backend)

    assert job.status == "queued"
    assert Attempt.objects.get(job=job).error_code == "suspect_result"
    assert backend.requests == []
    claim_again(engine, job, backend)
    assert (job.status, job.attempt) == ("completed", 2)


def test_a_result_is_adopted_that_reconciliation_has_found_in_the_log(engine):
    job, backend = engine.submit(), FakeBackend()
    die_after_storing(engine, job)
    engine.tick()
    Attempt.objects.update(
        outcome="ok", reconciled_at=timezone.now(), audio_seconds=2.0, request_id="r-1"
    )

    engine.run(job, backend)

    job.refresh_from_db()
    assert (job.status, backend.requests) == ("completed", [])
    assert Attempt.objects.get(job=job).outcome == "ok"


def test_the_third_crash_looks_for_a_result_before_the_job_fails(engine, settings):
    settings.MAX_CRASHES = 1
    job, backend = engine.submit(), FakeBackend()
    die_after_storing(engine, job)

    claim_again(engine, job, backend)

    assert (job.status, job.crashes, backend.requests) == ("completed", 1, [])


@pytest.mark.parametrize("end", ["canceled", "expired"])
def test_the_result_of_a_job_that_was_ended_is_erased_with_it(engine, end):
    job = engine.submit()
    late = die_after_storing(engine, job)
    to = services.JobStatus(end)
    services.advance(Job.objects.filter(pk=job.pk), to=to, at=timezone.now())
    finishing.commit([late], timezone.now())
    assert not Transcript.objects.exists()
    assert default_storage.exists(late.result.raw)

    receipt = erasure.erase_job(job=job, actor="", now=datetime.now(UTC))

    assert receipt.erased["raw_documents"] == 1
    assert Attempt.objects.get(job=job).outcome == "ok"


def test_the_documents_of_a_message_are_looked_up_at_the_same_time(engine, monkeypatch):
    engine.region.max_concurrent = 100  # lost claims have permits for a while
    engine.region.save()
    jobs = [engine.submit() for _ in range(3)]
    for job in jobs:
        die_after_storing(engine, job)
    Job.objects.filter(status="queued").update(ready=True, run_at=None)
    engine.tick()
    claims = [JobClaim(job.pk, job.lease_token) for job in Job.objects.all()]
    together = Barrier(3, timeout=5)

    def find_nothing(_attempt: Attempt) -> None:
        together.wait()

    monkeypatch.setattr(storage, "find_result", find_nothing)

    with ThreadPoolExecutor(3) as threads:
        outcomes = adoption.adopt(claims, holder=engine, threads=threads)

    assert (outcomes, together.broken) == ({}, False)
    # Slow look-ups must not be taken for lost messages.
    assert {job.pk for job in engine.looked_up} == {claim.job_id for claim in claims}
