"""Outcomes of many calls in one commit: one that is refused fails alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest
from django.db import DataError
from django.utils import timezone

from jobs import calls
from jobs.calls import JobClaim
from jobs.concurrency.group_commit import GroupCommitter
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job
from tests.support.fake_backend import document
from transcripts.documents import parse_summary
from transcripts.models import Transcript
from transcripts.outcomes import finishing
from transcripts.outcomes.finishing import FinishedCall, StoredResult


def start_many(engine, number: int) -> list[FinishedCall]:
    engine.region.max_concurrent = 100
    engine.region.save()
    for _ in range(number):
        engine.submit()
    engine.tick()
    claims = [JobClaim(job.pk, job.lease_token) for job in Job.objects.all()]
    started = calls.start_calls(claims, worker="worker-1", now=timezone.now())
    summary = parse_summary(document())
    return [
        FinishedCall(
            job=job,
            attempt=attempt,
            holder=engine,
            result=StoredResult(raw=f"raw/{number}", summary=summary, request_id="r"),
        )
        for number, (job, attempt) in enumerate(started)
    ]


def test_a_group_ends_all_its_jobs_in_their_own_ways(engine):
    completed, failed, retried, stale = start_many(engine, 4)
    bad_media = UpstreamError("no", code="bad", failure="bad_media", status=400)
    busy = UpstreamError("no", code="busy", failure="unavailable", status=503)
    failed = replace(failed, result=None, error=bad_media)
    retried = replace(retried, result=None, error=busy)
    Job.objects.filter(pk=stale.job.pk).update(lease_token=9)

    finishing.commit([completed, failed, retried, stale], timezone.now())

    statuses = dict(Job.objects.values_list("pk", "status"))
    assert [statuses[each.job.pk] for each in (completed, failed, retried, stale)] == [
        "completed",
        "failed",
        "queued",
        "processing",
    ]
    outcomes = dict(Attempt.objects.values_list("job", "outcome"))
    assert sorted(outcomes.values()) == ["error", "error", "ok", "ok"]
    assert set(Transcript.objects.values_list("pk", flat=True)) == {completed.job.pk}
    assert Job.objects.get(pk=retried.job.pk).run_at is not None


def test_one_row_that_postgresql_refuses_does_not_take_the_others_down(
    transactional_db, engine
):
    finished = start_many(engine, 6)
    summary = replace(finished[0].result.summary, text="a\0b")
    refused = replace(finished[0], result=replace(finished[0].result, summary=summary))
    first, *others = finished[1:]
    entered, proceed, groups = Event(), Event(), []

    def commit(group, now):
        groups.append(len(group))
        if len(groups) == 1:
            entered.set()
            assert proceed.wait(10)
        finishing.commit(group, now)

    committer = GroupCommitter(commit, grace=lambda: 5.0)
    with ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(committer.submit, first)]
        assert entered.wait(10)
        futures += [threads.submit(committer.submit, each) for each in others]
        bad = threads.submit(committer.submit, refused)
        while len(committer._waiting) < 5:
            pass
        proceed.set()
        for future in futures:
            future.result(30)
        with pytest.raises((DataError, ValueError)):
            bad.result(30)

    assert groups[:2] == [1, 5]
    assert Transcript.objects.count() == 5
    assert Job.objects.get(pk=refused.job.pk).status == "processing"
    assert Attempt.objects.get(job=refused.job).outcome == "open"


def test_a_late_result_and_the_end_of_the_next_claim_in_one_group(engine):
    (late,) = start_many(engine, 1)
    engine.lose_lease(late.job)
    engine.tick()
    Job.objects.update(ready=True, run_at=None)
    engine.tick()
    (job,) = Job.objects.all()
    ((job, attempt),) = calls.start_calls(
        [JobClaim(job.pk, job.lease_token)], worker="worker-1", now=timezone.now()
    )
    busy = UpstreamError("no", code="busy", failure="unavailable", status=503)
    current = replace(late, job=job, attempt=attempt, result=None, error=busy)

    finishing.commit([late, current], timezone.now())

    job.refresh_from_db()
    assert (job.status, job.lease_token) == ("queued", 2)
    assert not Transcript.objects.exists()
    assert set(Attempt.objects.values_list("outcome", flat=True)) == {"ok", "error"}
