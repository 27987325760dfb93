"""Write a checked batch: at once if it is small, else slice by slice, unseen.

A long transaction would hold up everybody's event streams, and vacuum. So a large batch
is *preparing* while its jobs are written, held and hidden; one small transaction opens
it. What never opens is dropped: ``jobs.batches.sweeper`` deletes it.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from jobs.accounts import audit
from jobs.batches import job_rows, records
from jobs.batches.item_file import CheckResult, StoredFieldError
from jobs.errors import Conflict
from jobs.models import Batch, BatchError, BatchState, Event, Job
from jobs.quotas import quotas
from jobs.rest.idempotency import IdempotentRequest, StoredResponse
from jobs.state import JobStatus

SLICE = 1000
# A web process that is silent for so long is writing nothing any more.
ABANDONED_AFTER = timedelta(minutes=10)
NO_JOB = UUID(int=0)  # stands before every other in order


def is_small(checked: CheckResult) -> bool:
    """Tell whether all of it fits into one transaction."""
    return max(checked.good, checked.fault_count) <= SLICE


def write_small(batch: Batch, checked: CheckResult) -> None:
    """Write the batch, its jobs and what was left out; to be called in a transaction.

    Raises LimitExceeded.
    """
    _count(batch, checked)
    batch.save(force_insert=True)
    for rows in checked.read_rows(SLICE):
        tell_submitted(batch, _insert(batch, rows, ready=True))
    for faults in checked.read_faults(SLICE):
        _insert_faults(batch, faults)
    records.record_submit(batch)


def prepare(batch: Batch, checked: CheckResult) -> None:
    """Write all of a large batch, unseen; whoever gets an error drops it.

    Raises LimitExceeded, or Conflict when somebody canceled it meanwhile.
    """
    _count(batch, checked)
    begin(batch)
    for rows in checked.read_rows(SLICE):
        with transaction.atomic():
            touch(batch)
            _insert(batch, rows, ready=False)
    for faults in checked.read_faults(SLICE):
        with transaction.atomic():
            touch(batch)
            _insert_faults(batch, faults)


def begin(batch: Batch) -> None:
    """Write the row of a large batch; raises LimitExceeded if all cannot fit."""
    with transaction.atomic():
        quotas.check_fits(
            job=_common(batch, ready=False), number=batch.total, now=batch.created_at
        )
    batch.state = BatchState.PREPARING
    with transaction.atomic():
        batch.save(force_insert=True)
        touch(batch)


def write_once(
    batch: Batch,
    *,
    prepare: Callable[[], None] | None,
    once: IdempotentRequest,
    make: Callable[[], StoredResponse],
) -> tuple[StoredResponse, bool]:
    """Prepare a large batch, then answer; what comes to nothing is dropped."""
    try:
        if prepare:
            prepare()
        answer, is_repeated = once.answer(make)
    except BaseException:
        drop(batch)
        raise
    if is_repeated:  # somebody on another machine was first
        drop(batch)
    return answer, is_repeated


def touch(batch: Batch) -> None:
    """Say that it is still being written; raises Conflict if it is not to be."""
    move(batch, work_at=Now() + ABANDONED_AFTER)


def open_prepared(batch: Batch) -> None:
    """Let everybody see the batch and all of its jobs; in the caller's transaction."""
    move(batch, state=BatchState.OPEN, work_at=Now(), told_after=NO_JOB)
    batch.refresh_from_db()
    records.record_submit(batch)


def move(batch: Batch, **changes: Any) -> None:
    """Change a batch that is still preparing; raises Conflict if it is not."""
    rows = Batch.objects.filter(pk=batch.pk, state=BatchState.PREPARING)
    if not rows.update(**changes):
        message = "The batch was canceled before all of it was written."
        raise Conflict(message, code="batch_state_conflict")


def drop(batch: Batch) -> None:
    """Have everything that was written of it deleted, unless it is open."""
    rows = Batch.objects.filter(pk=batch.pk, state=BatchState.PREPARING)
    rows.update(state=BatchState.DROPPED, work_at=Now())


def tell_submitted(batch: Batch, jobs: Iterable[UUID]) -> None:
    """Write the first event of each job."""
    actor = audit.actor_of(batch.api_key)
    Event.objects.bulk_create(
        Event(
            tenant_id=batch.tenant_id,
            job_id=job,
            type=f"job.{JobStatus.QUEUED}",
            data={"reason": "submitted", "attempt": 0},
            actor=actor,
            created_at=batch.created_at,
            fanned_out_at=batch.created_at,
        )
        for job in jobs
    )


def _count(batch: Batch, checked: CheckResult) -> None:
    batch.total, batch.skipped = checked.good, checked.bad


def _common(batch: Batch, *, ready: bool) -> Job:
    return Job(
        tenant=batch.tenant,
        api_key=batch.api_key,
        batch=batch,
        created_at=batch.created_at,
        traceparent=batch.traceparent,
        ready=ready,
    )


def _insert(batch: Batch, rows: Sequence[str], *, ready: bool) -> list[UUID]:
    common = _common(batch, ready=ready)
    quotas.reserve(jobs=[common] * len(rows), now=batch.created_at)
    return job_rows.insert_rows(common, rows)


def _insert_faults(batch: Batch, faults: Iterable[StoredFieldError]) -> None:
    BatchError.objects.bulk_create(
        BatchError(
            batch=batch,
            line=kept.line,
            pointer=kept.pointer[:300],
            code=kept.code,
            detail=kept.detail,
            excerpt=kept.excerpt,
        )
        for kept in faults
    )
