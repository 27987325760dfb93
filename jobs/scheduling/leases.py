"""Transitions caused by time: lost leases, deadlines, and retries that are due.

Each processes at most ``SLICE`` jobs per tick, which bounds the tick's duration.
"""

import logging
from collections import defaultdict
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from jobs import services
from jobs.models import Attempt, Batch, BatchState, Job, Mode, Region
from jobs.scheduling import pending_work
from jobs.scheduling.capacity import read_capacity
from jobs.state import OPEN, JobStatus
from jobs.telemetry import metrics

logger = logging.getLogger(__name__)

SLICE = 1000


def requeue_lost(*, now: datetime) -> int:
    """Requeue jobs whose lease expired; return how many moved.

    The attempt of a started call becomes *unknown* and counts; a job that crashed
    ``MAX_CRASHES`` workers fails. Live jobs are excluded: their audio cannot be sent
    again, so they end with the results so far.
    """
    expired = Job.objects.filter(status=JobStatus.PROCESSING, lease_until__lt=now)
    expired = expired.exclude(mode=Mode.LIVE)
    lost = lock_jobs(expired, order="lease_until")
    if not lost:
        return 0
    started = [job.pk for job in lost if job.started_at]
    Attempt.objects.filter(job_id__in=started, outcome=Attempt.Outcome.OPEN).update(
        outcome=Attempt.Outcome.UNKNOWN, error_code="worker_lost", finished_at=now
    )
    crashed: dict[int, list[Job]] = defaultdict(list)
    for job in lost:
        crashed[job.crashes + 1 if job.started_at else job.crashes].append(job)
    for crashes, jobs in crashed.items():
        _requeue_or_fail(jobs, crashes=crashes, now=now)
    transaction.on_commit(partial(metrics.LOST.inc, len(lost)))
    logger.warning("leases lost", extra={"count": len(lost)})
    return len(lost)


def _requeue_or_fail(jobs: list[Job], *, crashes: int, now: datetime) -> None:
    rows = Job.objects.filter(pk__in=[job.pk for job in jobs])
    if crashes >= settings.MAX_CRASHES:
        services.advance(
            rows,
            to=JobStatus.FAILED,
            at=now,
            crashes=crashes,
            error_code="worker_crashed",
            error_detail="Every worker that ran this job crashed while running it.",
        )
        return
    services.advance(
        rows,
        to=JobStatus.QUEUED,
        at=now,
        data={"reason": "lease_lost"},
        crashes=crashes,
        ready=True,
        run_at=None,
    )


def recall_unstarted_claims(*, now: datetime) -> list[Job]:
    """Requeue claims that no live worker has a thread for; return them.

    A worker that stops or crashes leaves such claims in the broker. Their messages
    stay there and are stale.
    """
    lease_left = services.lease_time() - pending_work.RECALL_AFTER
    waiting = Job.objects.filter(
        status=JobStatus.PROCESSING, worker="", lease_until__lt=now + lease_left
    ).select_related("region")
    by_region: dict[Region, list[Job]] = defaultdict(list)
    for job in waiting.order_by("-priority", "-id"):
        if job.region:
            by_region[job.region].append(job)
    snapshot = read_capacity(now=now)
    recalled: list[Job] = []
    for region, jobs in by_region.items():
        recalled += jobs[: max(0, -snapshot.free_threads(region))]
    if not recalled:
        return []
    moved = set(
        services.advance(
            Job.objects.filter(pk__in=[job.pk for job in recalled], started_at=None),
            to=JobStatus.QUEUED,
            at=now,
            data={"reason": "recalled"},
        )
    )
    # Claims that a worker started concurrently keep their permits.
    return [job for job in recalled if job in moved]


def expire(*, now: datetime) -> int:
    """Expire open jobs whose deadline passed; return how many."""
    late = Job.objects.filter(status__in=sorted(OPEN), expires_at__lte=now)
    hidden = Batch.objects.exclude(state=BatchState.OPEN)
    jobs = lock_jobs(late.exclude(batch__in=hidden), order="expires_at")
    rows = Job.objects.filter(pk__in=[job.pk for job in jobs])
    return len(services.advance(rows, to=JobStatus.EXPIRED, at=now)) if jobs else 0


def lock_jobs(jobs: QuerySet[Job], *, order: str) -> list[Job]:
    """Lock and return up to ``SLICE`` of these jobs; skip those that are locked.

    Locks open attempts before their jobs, as the code that ends a call does; the
    reverse order would deadlock. Skips a job whose attempt is locked: its call is
    just ending.
    """
    found = list(jobs.order_by(order).values_list("pk", flat=True)[:SLICE])
    if not found:
        return []
    attempts = Attempt.objects.filter(job__in=found, outcome=Attempt.Outcome.OPEN)
    free = attempts.select_for_update(skip_locked=True, no_key=True, of=("self",))
    locked = set(free.values_list("pk", flat=True))
    ending = attempts.exclude(pk__in=locked).values_list("job_id", flat=True)
    rows = jobs.filter(pk__in=set(found) - set(ending)).order_by(order)
    return list(rows.select_for_update(skip_locked=True))


def make_ready(*, now: datetime) -> int:
    """Make jobs claimable whose ``run_at`` has come, one slice per tick.

    Jobs of paused batches are put on hold instead, until the batch is resumed.
    """
    due = Job.objects.filter(
        status=JobStatus.QUEUED, ready=False, run_at__lte=now
    ).order_by("run_at")[:SLICE]
    rows = Job.objects.filter(
        pk__in=list(due.values_list("pk", flat=True)), status=JobStatus.QUEUED
    )
    rows.filter(batch__in=Batch.objects.filter(is_paused=True)).update(run_at=None)
    return rows.filter(run_at__lte=now).update(ready=True)
