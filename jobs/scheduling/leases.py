"""Transitions caused by time: lost leases, deadlines, and retries that are due.

Each processes at most ``SLICE`` jobs per tick, which bounds the tick's duration.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from jobs import services
from jobs.models import Attempt, Batch, BatchState, Job, Mode, Region
from jobs.scheduling import pending_work
from jobs.scheduling.capacity import is_last_chance, read_capacity
from jobs.state import OPEN, JobStatus
from jobs.telemetry import metrics

logger = logging.getLogger(__name__)

SLICE = 1000
# A live process starts its claims as soon as their message arrives. While it looks for
# stored results it renews their leases once a third is over; this is later.
MESSAGE_LOST_SHARE = 0.5


def requeue_lost(*, now: datetime) -> int:
    """Requeue jobs whose lease expired; return how many moved.

    The attempt of a started call becomes *unknown* and counts. Crashes are counted (see
    ``_count_crashes``); after MAX_CRASHES the next claim does not call again. Live jobs
    are excluded: their audio cannot be sent again, so they end with the results so far.
    """
    expired = Job.objects.filter(status=JobStatus.PROCESSING, lease_until__lt=now)
    expired = expired.exclude(mode=Mode.LIVE)
    lost = lock_jobs(expired, order="lease_until")
    if not lost:
        return 0
    started = [job for job in lost if job.started_at]
    Attempt.objects.filter(job__in=started, outcome=Attempt.Outcome.OPEN).update(
        outcome=Attempt.Outcome.UNKNOWN, error_code="worker_lost", finished_at=now
    )
    counted = _count_crashes(started)
    crashed: dict[int, list[Job]] = defaultdict(list)
    for job in lost:
        crashed[job.crashes + (job.pk in counted)].append(job)
    for crashes, jobs in crashed.items():
        services.advance(
            Job.objects.filter(pk__in=[job.pk for job in jobs]),
            to=JobStatus.QUEUED,
            at=now,
            data={"reason": "lease_lost"},
            crashes=crashes,
            ready=True,
            run_at=None,
        )
    transaction.on_commit(partial(metrics.LOST.inc, len(lost)))
    logger.warning("leases lost", extra={"count": len(lost)})
    return len(lost)


def _count_crashes(started: Iterable[Job]) -> set[UUID]:
    """Return the jobs whose crash counts: of each dead process, all that it ran.

    Unless one of them was on its last chance: then it is the likely cause, and the
    others, which shared its process, are not blamed.
    """
    by_worker: dict[str, list[Job]] = defaultdict(list)
    for job in started:
        by_worker[job.worker].append(job)
    counted: set[UUID] = set()
    for jobs in by_worker.values():
        last = [job for job in jobs if is_last_chance(job.crashes)]
        counted |= {job.pk for job in last or jobs}
    return counted


def recall_unstarted_claims(*, now: datetime) -> list[Job]:
    """Requeue claims that are not going to start; return them.

    Those of a process that left or was not seen lately, those whose message was lost,
    and those of a region's queue that no live worker has a thread for. Their messages
    are stale.
    """
    lease_left = services.lease_time() - pending_work.RECALL_AFTER
    waiting = Job.objects.filter(
        status=JobStatus.PROCESSING,
        started_at=None,
        lease_until__lt=now + lease_left,
    ).select_related("region")
    snapshot = read_capacity(now=now)
    live = {worker.name for worker in snapshot.workers}
    lost_before = now + services.lease_time() * (1 - MESSAGE_LOST_SHARE)
    recalled: list[Job] = []
    by_region: dict[Region, list[Job]] = defaultdict(list)
    for job in waiting.order_by("-priority", "-id"):
        if not job.worker and job.region:
            by_region[job.region].append(job)
        elif job.worker not in live or (
            job.lease_until and job.lease_until < lost_before
        ):
            recalled.append(job)
    for region, jobs in by_region.items():
        recalled += jobs[: max(0, -snapshot.free_of_queue(region))]
    return _requeue_unstarted(recalled, now=now)


def _requeue_unstarted(recalled: Sequence[Job], *, now: datetime) -> list[Job]:
    """Requeue claims; those that a worker started concurrently keep their permits."""
    moved: set[Job] = set()
    # In the order of ids, as all code that locks several jobs does.
    unstarted = Job.objects.filter(pk__in=[job.pk for job in recalled], started_at=None)
    locking = unstarted.order_by("pk").select_for_update(no_key=True, skip_locked=True)
    by_token: dict[int, list[UUID]] = defaultdict(list)
    for pk, token in locking.values_list("pk", "lease_token"):
        by_token[token].append(pk)
    for token, ids in by_token.items():
        moved |= set(
            services.advance(
                Job.objects.filter(pk__in=ids, lease_token=token, started_at=None),
                to=JobStatus.QUEUED,
                at=now,
                data={"reason": "recalled"},
            )
        )
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
