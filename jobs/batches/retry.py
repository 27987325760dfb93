"""Retry failed jobs of a batch in a new batch."""

from collections.abc import Callable, Collection, Iterable
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
from jobs.rest import idempotency
from jobs.rest.idempotency import IdempotentRequest, StoredResponse
from jobs.scheduling import dispatch
from jobs.state import FINAL, JobStatus

RETRIABLE = sorted(FINAL - {JobStatus.COMPLETED})
SLICE = writing.SLICE


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequest:
    """The batch to retry, and the statuses of the jobs to include."""

    batch: Batch
    statuses: Collection[str]


def accept_retry(
    *,
    caller: Caller,
    request: RetryRequest,
    answer: Callable[[Batch], StoredResponse],
    now: datetime,
) -> tuple[StoredResponse, bool]:
    """Save the new batch; return the response and whether it is repeated.

    Raises Conflict if the batch has not ended or has no such job, and Erased.
    """
    once = IdempotentRequest(
        tenant=caller.tenant,
        route=f"retry batch {request.batch.pk}",
        key=caller.key,
        digest=idempotency.digest_of(sorted(request.statuses)),
        now=now,
    )
    stored = once.find()
    if stored:
        return stored, True
    number = _count_jobs(request)
    child = records.build_batch(
        tenant=caller.tenant,
        api_key=caller.api_key,
        draft=BatchDraft(
            metadata=request.batch.metadata, callback_url=request.batch.callback_url
        ),
        now=now,
    )
    child.retry_of = request.batch
    child.total = number

    def make() -> StoredResponse:
        if number <= SLICE:
            records.write_batch(
                child, _build(child, _lock_next_slice(request, after=None))
            )
        else:
            writing.open_prepared(child)
        transaction.on_commit(dispatch.wake)
        return answer(child)

    return writing.write_once(
        child,
        prepare=(lambda: _prepare(child, request)) if number > SLICE else None,
        once=once,
        make=make,
    )


def _count_jobs(request: RetryRequest) -> int:
    if request.batch.erased_at:
        raise Erased
    if not request.batch.finished_at:
        status = batch_statistics.status_of(request.batch)
        message = f"The batch is {status}: it has not ended yet."
        raise Conflict(message, code="batch_state_conflict")
    number = _find_jobs(request).count()
    if not number:
        message = "The batch has no job with such a status, or all are erased."
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


def _build(child: Batch, originals: Iterable[Job]) -> list[Job]:
    jobs = []
    for original in originals:
        job = services.build_job(
            tenant=child.tenant,
            api_key=child.api_key,
            draft=services.build_retry_draft(original),
            now=child.created_at,
        )
        job.batch, job.retry_of, job.line = child, original, original.line
        jobs.append(job)
    return jobs


def _prepare(child: Batch, request: RetryRequest) -> None:
    writing.begin(child)
    written, after = 0, None
    while True:
        with transaction.atomic():
            writing.touch(child)
            originals = _lock_next_slice(request, after=after)
            jobs = _build(child, originals)
            for job in jobs:
                job.ready = False
            if jobs:
                reserve(jobs=jobs, now=child.created_at)
                Job.objects.bulk_create(jobs)
        written += len(jobs)
        if len(originals) < SLICE:
            break
        after = originals[-1].pk
    writing.update_preparing(child, total=written)
