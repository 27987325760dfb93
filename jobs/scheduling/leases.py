"""What time does to jobs: lost leases, deadlines, and waits that are over.

Each moves one bounded slice a tick, so that a tick stays short whatever piled up.
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


def take_back_lost(*, now: datetime) -> int:
    """Requeue jobs whose lease ran out; return how many moved.

    A call that had begun counts as spent: its attempt becomes *unknown*, and a job
    that took ``MAX_CRASHES`` workers down with it fails. Live sessions are left alone:
    nobody can say their audio again, so they end with what there is.
    """
    dead = Job.objects.filter(status=JobStatus.PROCESSING, lease_until__lt=now)
    dead = dead.exclude(mode=Mode.LIVE)
    lost = hold(dead, order="lease_until")
    if not lost:
        return 0
    called = [job for job in lost if job.started_at]
    Attempt.objects.filter(
        job_id__in=[job.pk for job in called], outcome=Attempt.Outcome.OPEN
    ).update(outcome=Attempt.Outcome.UNKNOWN, error_code="worker_lost", finished_at=now)
    crashed: dict[int, list[Job]] = defaultdict(list)
    for job in lost:
        crashed[job.crashes + 1 if job.started_at else job.crashes].append(job)
    for crashes, jobs in crashed.items():
        _hand_back_lost(jobs, crashes=crashes, now=now)
    transaction.on_commit(partial(metrics.LOST.inc, len(lost)))
    logger.warning("leases lost", extra={"count": len(lost)})
    return len(lost)


def _hand_back_lost(jobs: list[Job], *, crashes: int, now: datetime) -> None:
    rows = Job.objects.filter(pk__in=[job.pk for job in jobs])
    if crashes >= settings.MAX_CRASHES:
        services.advance(
            rows,
            to=JobStatus.FAILED,
            at=now,
            crashes=crashes,
            error_code="worker_crashed",
            error_detail="Every worker that ran this job died in the middle of it.",
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


def recall_unsent_claims(*, now: datetime) -> list[Job]:
    """Requeue claims that wait for threads no live worker has; return them.

    That is what a worker that stops, or dies, leaves in the broker. The messages stay
    behind and are stale.
    """
    patience = services.lease_time() - pending_work.RECALL_AFTER
    waiting = Job.objects.filter(
        status=JobStatus.PROCESSING, worker="", lease_until__lt=now + patience
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
    # Whatever a worker took meanwhile keeps its permit.
    return [job for job in recalled if job in moved]


def expire(*, now: datetime) -> int:
    """End jobs whose deadline passed before they were done; return how many."""
    late = Job.objects.filter(status__in=sorted(OPEN), expires_at__lte=now)
    hidden = Batch.objects.exclude(state=BatchState.OPEN)
    ids = [job.pk for job in hold(late.exclude(batch__in=hidden), order="expires_at")]
    rows = Job.objects.filter(pk__in=ids)
    return len(services.advance(rows, to=JobStatus.EXPIRED, at=now)) if ids else 0


def hold(wanted: QuerySet[Job], *, order: str) -> list[Job]:
    """Lock up to ``SLICE`` of these jobs and return them; what others hold is left.

    Whoever ends a call locks it first and then its job. So do we, or two of us would
    wait for each other; a job whose call is just ending is not lost, and not ours.
    """
    found = list(wanted.order_by(order).values_list("pk", flat=True)[:SLICE])
    if not found:
        return []
    calls = Attempt.objects.filter(job__in=found, outcome=Attempt.Outcome.OPEN)
    free = calls.select_for_update(skip_locked=True, no_key=True, of=("self",))
    held = set(free.values_list("pk", flat=True))
    ending = calls.exclude(pk__in=held).values_list("job_id", flat=True)
    rows = wanted.filter(pk__in=set(found) - set(ending)).order_by(order)
    return list(rows.select_for_update(skip_locked=True))


def make_ready(*, now: datetime) -> int:
    """Put jobs whose ``run_at`` has come into the claim index, one slice a tick.

    Those of paused batches are held instead, until somebody resumes them.
    """
    due = Job.objects.filter(
        status=JobStatus.QUEUED, ready=False, run_at__lte=now
    ).order_by("run_at")[:SLICE]
    rows = Job.objects.filter(
        pk__in=list(due.values_list("pk", flat=True)), status=JobStatus.QUEUED
    )
    rows.filter(batch__in=Batch.objects.filter(is_paused=True)).update(run_at=None)
    return rows.filter(run_at__lte=now).update(ready=True)
