"""Run again what did not come out of a batch: a new batch of those jobs alone."""

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
    """Which jobs of which batch are wanted again."""

    batch: Batch
    statuses: Collection[str]


def accept_retry(
    *,
    caller: Caller,
    again: RetryRequest,
    answer: Callable[[Batch], StoredResponse],
    now: datetime,
) -> tuple[StoredResponse, bool]:
    """Write the new batch and return the answer, once per Idempotency-Key.

    Raises Conflict while the first one is not done or has no such job, and Erased.
    """
    once = IdempotentRequest(
        tenant=caller.tenant,
        route=f"retry batch {again.batch.pk}",
        key=caller.key,
        digest=idempotency.digest_of(sorted(again.statuses)),
        now=now,
    )
    known = once.find()
    if known:
        return known, True
    number = _count(again)
    child = records.build_batch(
        tenant=caller.tenant,
        api_key=caller.api_key,
        draft=BatchDraft(
            metadata=again.batch.metadata, callback_url=again.batch.callback_url
        ),
        now=now,
    )
    child.retry_of = again.batch
    child.total = number

    def make() -> StoredResponse:
        if number <= SLICE:
            records.write_batch(child, _build(child, _next(again, after=None)))
        else:
            writing.open_prepared(child)
        transaction.on_commit(dispatch.wake)
        return answer(child)

    return writing.write_once(
        child,
        prepare=(lambda: _prepare(child, again)) if number > SLICE else None,
        once=once,
        make=make,
    )


def _count(again: RetryRequest) -> int:
    if again.batch.erased_at:
        raise Erased
    if not again.batch.finished_at:
        message = f"The batch is {batch_statistics.status_of(again.batch)}: it has not ended yet."
        raise Conflict(message, code="batch_state_conflict")
    number = _wanted(again).count()
    if not number:
        message = "No job of the batch ended so, or they are erased."
        raise Conflict(message, code="batch_state_conflict")
    return number


def _wanted(again: RetryRequest) -> QuerySet[Job]:
    return Job.objects.filter(
        batch=again.batch, status__in=again.statuses, erased_at=None
    )


def _next(again: RetryRequest, *, after: UUID | None) -> list[Job]:
    """Return the next slice, locked: it shares its audio, which must not go."""
    rows = _wanted(again)
    if after:
        rows = rows.filter(pk__gt=after)
    return list(rows.order_by("pk").select_for_update(no_key=True)[:SLICE])


def _build(child: Batch, originals: Iterable[Job]) -> list[Job]:
    jobs = []
    for original in originals:
        job = services.build_job(
            tenant=child.tenant,
            api_key=child.api_key,
            draft=services.draft_retry(original),
            now=child.created_at,
        )
        job.batch, job.retry_of, job.line = child, original, original.line
        jobs.append(job)
    return jobs


def _prepare(child: Batch, again: RetryRequest) -> None:
    writing.begin(child)
    written, after = 0, None
    while True:
        with transaction.atomic():
            writing.touch(child)
            originals = _next(again, after=after)
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
    writing.move(child, total=written)
