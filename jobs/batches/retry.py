"""Retry failed jobs of a batch in a new batch."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from jobs import services
from jobs.accounts.caller import Caller
from jobs.batches import records, writing
from jobs.batches import statistics as batch_statistics
from jobs.batches.records import BatchDraft
from jobs.errors import Conflict, Erased
from jobs.models import Batch, Job
from jobs.quotas.quotas import reserve
from jobs.state import FINAL, JobStatus

RETRIABLE = sorted(FINAL - {JobStatus.COMPLETED})
SLICE = writing.SLICE


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """The batch to retry, and the statuses of the jobs to include."""

    batch: Batch
    statuses: Collection[str]


def build_retry(*, caller: Caller, request: RetryRequest, now: datetime) -> Batch:
    """Build the unsaved new batch.

    Raises Conflict if the batch has not ended or has no such job, and Erased.
    """
    total = _count_jobs(request)
    batch = records.build_batch(
        tenant=caller.tenant,
        api_key=caller.api_key,
        draft=BatchDraft(
            metadata=request.batch.metadata, callback_url=request.batch.callback_url
        ),
        now=now,
    )
    batch.retry_of = request.batch
    batch.total = total
    return batch


def write_small(batch: Batch, request: RetryRequest) -> None:
    """Save the new batch and its jobs; call it in a transaction."""
    jobs = _build_jobs(batch, _lock_next_slice(request, after=None))
    records.write_batch(batch, jobs)


def write_large(batch: Batch, request: RetryRequest) -> None:
    """Save all of a large batch, hidden; the caller drops it after an error."""
    writing.write_hidden_row(batch)
    written, after = 0, None
    while True:
        with transaction.atomic():
            writing.touch(batch)
            originals = _lock_next_slice(request, after=after)
            jobs = _build_jobs(batch, originals)
            for job in jobs:
                job.ready = False
            if jobs:
                reserve(jobs=jobs, now=batch.created_at)
                Job.objects.bulk_create(jobs)
        written += len(jobs)
        if len(originals) < SLICE:
            break
        after = originals[-1].pk
    writing.update_preparing(batch, total=written)


def _count_jobs(request: RetryRequest) -> int:
    if request.batch.erased_at:
        raise Erased
    if not request.batch.finished_at:
        status = batch_statistics.get_status(request.batch)
        message = f"The batch is {status}: it has not ended yet."
        raise Conflict(message, code="batch_state_conflict")
    number = _find_jobs(request).count()
    if not number:
        message = "No job of the batch has such a status, or all are erased."
        raise Conflict(message, code="batch_state_conflict")
    return number


def _find_jobs(request: RetryRequest) -> QuerySet[Job]:
    return Job.objects.filter(
        batch=request.batch, status__in=request.statuses, erased_at=None
    )


def _lock_next_slice(request: RetryRequest, *, after: UUID | None) -> list[Job]:
    """Return the next slice, locked against erasure: the new jobs share its audio."""
    rows = _find_jobs(request)
    if after:
        rows = rows.filter(pk__gt=after)
    return list(rows.order_by("pk").select_for_update(no_key=True)[:SLICE])


def _build_jobs(batch: Batch, originals: Iterable[Job]) -> list[Job]:
    jobs = []
    for original in originals:
        job = services.build_job(
            tenant=batch.tenant,
            api_key=batch.api_key,
            draft=services.build_retry_draft(original),
            now=batch.created_at,
        )
        job.batch, job.retry_of, job.line = batch, original, original.line
        jobs.append(job)
    return jobs
