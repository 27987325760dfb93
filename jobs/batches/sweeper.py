"""Do what somebody wants of all jobs of a batch, a bounded slice at a time.

The wish is in the batch's row, and so is how far it has come: whoever is killed in the
middle of it, another goes on. One pass over the jobs does all that is wanted: tell of
new ones, release or hold, change priority, cancel. A second one, a little later, finds
what came back into the queue meanwhile.
"""

import zlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection, transaction

from jobs import services
from jobs.batches import writing
from jobs.models import Batch, BatchState, Job
from jobs.quotas import quotas
from jobs.scheduling import leases
from jobs.state import OPEN, JobStatus

SLICE = 1000
AGAIN_AFTER = timedelta(seconds=2)
_LOCK = 0x62617463 << 32  # any constant, for advisory locks


def sweep(*, now: datetime, until: Callable[[], bool] = lambda: False) -> int:
    """Do one slice of each batch that has something to do; return how many had."""
    worked = 0
    due = Batch.objects.filter(work_at__lte=now).order_by("work_at")
    for pk in list(due.values_list("pk", flat=True)[:100]):
        if until():
            break
        worked += _work_on(pk, now=now)
    return worked


def _work_on(pk: UUID, *, now: datetime) -> bool:
    """Do one slice; somebody else who is at it has the lock, and we leave it to them.

    The row itself is not locked: counters and wishes go into it meanwhile.
    """
    with transaction.atomic():
        if not _lead(pk):
            return False
        batch = Batch.objects.filter(pk=pk, work_at__lte=now).first()
        if batch is None:
            return False
        if batch.state == BatchState.OPEN:
            _go_over(batch, now=now)
        else:
            _delete(batch)
    return True


def _lead(pk: UUID) -> bool:
    with connection.cursor() as cursor:
        number = _LOCK + zlib.crc32(pk.bytes)
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        row: tuple[bool] = cursor.fetchone()
    return row[0]


def _delete(batch: Batch) -> None:
    """Delete a slice of what never opened, and the batch itself at last."""
    rows = Batch.objects.filter(pk=batch.pk).exclude(state=BatchState.OPEN)
    # The row's lock keeps out whoever still writes, or opens it at this moment.
    if not rows.update(state=BatchState.DROPPED):
        return
    jobs = list(Job.objects.filter(batch=batch).order_by("pk")[:SLICE])
    if jobs:
        quotas.settle(jobs)
        Job.objects.filter(pk__in=[job.pk for job in jobs]).delete()
    else:
        batch.delete()


def _go_over(batch: Batch, *, now: datetime) -> None:
    rows = Job.objects.filter(batch=batch)
    if batch.work_after:
        rows = rows.filter(pk__gt=batch.work_after)
    jobs = list(rows.order_by("pk").values_list("pk", flat=True)[:SLICE])
    is_told = batch.told_after is not None and _tell(batch, jobs)
    _apply(batch, jobs, now=now)
    goes_on = len(jobs) == SLICE
    if is_told:
        told_after = jobs[-1] if goes_on else None
        Batch.objects.filter(pk=batch.pk).update(told_after=told_after)
    # A wish that came meanwhile begins anew, with all of them.
    same = Batch.objects.filter(pk=batch.pk, work_at=batch.work_at)
    same.update(**({"work_after": jobs[-1]} if goes_on else _end_pass(batch, now=now)))


def _end_pass(batch: Batch, *, now: datetime) -> dict[str, object]:
    """Return what becomes of the batch's work at the end of a pass."""
    cancels = batch.cancel_requested_at is not None
    left = cancels and _has_open_jobs(batch)
    if batch.work_again or left:
        return {
            "work_after": None,
            "work_at": now + AGAIN_AFTER,
            "work_again": False,
        }
    return {"work_after": None, "work_at": None, "wanted_priority": None}


def _tell(batch: Batch, jobs: Sequence[UUID]) -> bool:
    """Tell of the jobs of this slice that nobody has heard of; true if it was time."""
    new = [pk for pk in jobs if batch.told_after and pk > batch.told_after]
    if batch.cancel_requested_at or batch.is_paused or not new:
        return False
    writing.tell_submitted(batch, new)
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
    wanted = Job.objects.filter(pk__in=jobs, status__in=sorted(OPEN))
    held = [job.pk for job in leases.hold(wanted, order="pk")]
    rows = Job.objects.filter(pk__in=held)
    if held:
        services.advance(rows, to=JobStatus.CANCELED, at=now)


def _has_open_jobs(batch: Batch) -> bool:
    return Job.objects.filter(batch=batch, status__in=sorted(OPEN)).exists()
