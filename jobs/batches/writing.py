"""Save a checked batch: a small one in one transaction, a large one in hidden slices.

A long transaction would delay all event streams, and vacuum. So a large batch is
*preparing* while its jobs are inserted, on hold and hidden; a short transaction then
opens it. ``jobs.batches.sweeper`` deletes batches that are dropped before they open.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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
from jobs.state import JobStatus

SLICE = 1000
# Without progress for this long, the web process that prepares the batch is dead.
ABANDONED_AFTER = timedelta(minutes=10)
NO_JOB = UUID(int=0)  # sorts before every other id


def is_small(checked: CheckResult) -> bool:
    """Return whether the batch is saved in one transaction."""
    return max(checked.valid, checked.error_count) <= SLICE


def write_small(batch: Batch, checked: CheckResult) -> None:
    """Save the batch, its jobs and its errors; call it in a transaction.

    Raises LimitExceeded.
    """
    _set_totals(batch, checked)
    batch.save(force_insert=True)
    for rows in checked.read_rows(SLICE):
        write_submitted_events(batch, _insert(batch, rows, ready=True))
    for errors in checked.read_errors(SLICE):
        _insert_errors(batch, errors)
    records.record_submit(batch)


def write_large(batch: Batch, checked: CheckResult) -> None:
    """Save all of a large batch, hidden; the caller drops it after an error.

    Raises LimitExceeded, or Conflict if it is canceled concurrently.
    """
    _set_totals(batch, checked)
    write_hidden_row(batch)
    for rows in checked.read_rows(SLICE):
        with transaction.atomic():
            touch(batch)
            _insert(batch, rows, ready=False)
    for errors in checked.read_errors(SLICE):
        with transaction.atomic():
            touch(batch)
            _insert_errors(batch, errors)


def write_hidden_row(batch: Batch) -> None:
    """Save the row of a large batch; raises LimitExceeded if a quota is exceeded."""
    with transaction.atomic():
        quotas.check_fits(
            job=_build_template(batch, ready=False),
            number=batch.total,
            now=batch.created_at,
        )
    batch.state = BatchState.PREPARING
    with transaction.atomic():
        batch.save(force_insert=True)
        touch(batch)


@contextmanager
def dropping_unopened(batch: Batch) -> Iterator[None]:
    """Drop the batch if the block fails, or ends before it is open."""
    try:
        yield
    except BaseException:
        drop(batch)
        raise
    if batch.state == BatchState.PREPARING:
        drop(batch)


def touch(batch: Batch) -> None:
    """Mark the batch as still in preparation; raises Conflict if it was canceled."""
    update_preparing(batch, work_at=Now() + ABANDONED_AFTER)


def open_prepared(batch: Batch) -> None:
    """Make the batch and its jobs visible, in the caller's transaction."""
    update_preparing(batch, state=BatchState.OPEN, work_at=Now(), told_after=NO_JOB)
    batch.refresh_from_db()
    records.record_submit(batch)


def update_preparing(batch: Batch, **changes: Any) -> None:
    """Update a batch that is preparing; raises Conflict if it is not."""
    rows = Batch.objects.filter(pk=batch.pk, state=BatchState.PREPARING)
    if not rows.update(**changes):
        message = "The batch was canceled while it was being prepared."
        raise Conflict(message, code="batch_state_conflict")


def drop(batch: Batch) -> None:
    """Schedule the deletion of the batch and its jobs, unless it is open."""
    rows = Batch.objects.filter(pk=batch.pk, state=BatchState.PREPARING)
    rows.update(state=BatchState.DROPPED, work_at=Now())


def write_submitted_events(batch: Batch, jobs: Iterable[UUID]) -> None:
    """Save the first event of each job."""
    actor = audit.get_actor(batch.api_key)
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


def _set_totals(batch: Batch, checked: CheckResult) -> None:
    batch.total, batch.skipped = checked.valid, checked.invalid


def _build_template(batch: Batch, *, ready: bool) -> Job:
    return Job(
        tenant=batch.tenant,
        api_key=batch.api_key,
        batch=batch,
        created_at=batch.created_at,
        traceparent=batch.traceparent,
        ready=ready,
    )


def _insert(batch: Batch, rows: Sequence[str], *, ready: bool) -> list[UUID]:
    template = _build_template(batch, ready=ready)
    quotas.reserve(jobs=[template] * len(rows), now=batch.created_at)
    return job_rows.insert_rows(template, rows)


def _insert_errors(batch: Batch, errors: Iterable[StoredFieldError]) -> None:
    BatchError.objects.bulk_create(
        BatchError(
            batch=batch,
            line=error.line,
            pointer=error.pointer[:300],
            code=error.code,
            detail=error.detail,
            excerpt=error.excerpt,
        )
        for error in errors
    )
