"""Apply the requested changes of batches to their jobs, in bounded slices.

The batch's row has the desired state and the progress, so another process continues
after a crash. One pass over the jobs applies all changes: publish new jobs, hold or
release, change priority, cancel. A second pass finds jobs that were requeued meanwhile.
"""

import zlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from jobs import services
from jobs.batches import writing
from jobs.models import Batch, BatchState, Job, prepared_statements
from jobs.quotas import quotas
from jobs.scheduling import leases
from jobs.state import OPEN, JobStatus

SLICE = 1000
AGAIN_AFTER = timedelta(seconds=2)
_FIND_DUE = """
SELECT id FROM jobs_batch WHERE work_at <= $1 ORDER BY work_at LIMIT 100
"""
_LOCK = 0x62617463 << 32  # an arbitrary constant: base of the advisory locks


def sweep_batches(*, now: datetime, until: Callable[[], bool] = lambda: False) -> int:
    """Process one slice of each batch with work; return how many had work."""
    worked = 0
    for (pk,) in prepared_statements.fetch(_FIND_DUE, [now]):
        if until():
            break
        worked += _process_batch(pk, now=now)
    return worked


def _process_batch(pk: UUID, *, now: datetime) -> bool:
    """Process one slice, unless another process has the batch's lock.

    An advisory lock, because the row has to stay open to counters and changes.
    """
    with transaction.atomic():
        if not _try_lock(pk):
            return False
        batch = Batch.objects.filter(pk=pk, work_at__lte=now).first()
        if batch is None:
            return False
        if batch.state == BatchState.OPEN:
            _process_slice(batch, now=now)
        else:
            _delete(batch)
    return True


def _try_lock(pk: UUID) -> bool:
    with connection.cursor() as cursor:
        number = _LOCK + zlib.crc32(pk.bytes)
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        row: tuple[bool] = cursor.fetchone()
    return row[0]


def _delete(batch: Batch) -> None:
    """Delete a slice of a batch that never opened, and finally the batch."""
    rows = Batch.objects.filter(pk=batch.pk).exclude(state=BatchState.OPEN)
    # The update locks the row against a process that still prepares or opens it.
    if not rows.update(state=BatchState.DROPPED):
        return
    jobs = list(Job.objects.filter(batch=batch).order_by("pk")[:SLICE])
    if jobs:
        quotas.settle(jobs)
        Job.objects.filter(pk__in=[job.pk for job in jobs]).delete()
    else:
        batch.delete()


def _process_slice(batch: Batch, *, now: datetime) -> None:
    rows = Job.objects.filter(batch=batch)
    if batch.work_after:
        rows = rows.filter(pk__gt=batch.work_after)
    jobs = list(rows.order_by("pk").values_list("pk", flat=True)[:SLICE])
    is_published = batch.told_after is not None and _publish_new_jobs(batch, jobs)
    _apply(batch, jobs, now=now)
    has_more = len(jobs) == SLICE
    if is_published:
        told_after = jobs[-1] if has_more else None
        Batch.objects.filter(pk=batch.pk).update(told_after=told_after)
    # A concurrent change has set ``work_at``: it starts over with the first job.
    unchanged = Batch.objects.filter(pk=batch.pk, work_at=batch.work_at)
    unchanged.update(
        **({"work_after": jobs[-1]} if has_more else _end_pass(batch, now=now))
    )


def _end_pass(batch: Batch, *, now: datetime) -> dict[str, object]:
    """Return the changes of the batch's row at the end of a pass."""
    is_canceling = batch.cancel_requested_at is not None
    if batch.work_again or (is_canceling and _has_open_jobs(batch)):
        return {
            "work_after": None,
            "work_at": now + AGAIN_AFTER,
            "work_again": False,
        }
    return {"work_after": None, "work_at": None, "wanted_priority": None}


def _publish_new_jobs(batch: Batch, jobs: Sequence[UUID]) -> bool:
    """Write the first events of this slice's new jobs; False if there are none."""
    new = [pk for pk in jobs if batch.told_after and pk > batch.told_after]
    if batch.cancel_requested_at or batch.is_paused or not new:
        return False
    writing.write_submitted_events(batch, new)
    return True


def _apply(batch: Batch, jobs: Sequence[UUID], *, now: datetime) -> None:
    if batch.cancel_requested_at:
        _cancel(jobs, now=now)
        return
    queued = Job.objects.filter(pk__in=jobs, status=JobStatus.QUEUED)
    if batch.wanted_priority is not None:
        changed = queued.exclude(priority=batch.wanted_priority)
        changed.update(priority=batch.wanted_priority)
    if batch.is_paused:
        queued.filter(ready=True).update(ready=False, run_at=None)
    else:
        queued.filter(ready=False, run_at=None).update(ready=True)


def _cancel(jobs: Sequence[UUID], *, now: datetime) -> None:
    open_jobs = Job.objects.filter(pk__in=jobs, status__in=sorted(OPEN))
    locked = [job.pk for job in leases.lock_jobs(open_jobs, order="pk")]
    rows = Job.objects.filter(pk__in=locked)
    if locked:
        services.advance(rows, to=JobStatus.CANCELED, at=now)


def _has_open_jobs(batch: Batch) -> bool:
    return Job.objects.filter(batch=batch, status__in=sorted(OPEN)).exists()
