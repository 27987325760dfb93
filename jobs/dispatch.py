"""The dispatcher's tick, and the only door into the queue.

A tick is one transaction: take back lost leases, expire deadlines, make ready what
waited long enough, claim what can run now. After COMMIT the claims are sent to Celery
by task name; what cannot be sent is handed back at once. Nothing here calls upstream
and nothing here loops: ``workers.dispatcher`` does.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Protocol

import redis
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils.module_loading import import_string
from kombu.exceptions import KombuError

from jobs import services
from jobs.models import Attempt, Job, Region, Worker
from jobs.state import OPEN, JobStatus

logger = logging.getLogger(__name__)

TRANSCRIBE_TASK = "workers.transcribe"
WAKE_CHANNEL = "transcribe:wake"
WORKER_SEEN_SECONDS = 10
ANY_REGION = "*"  # the lane of jobs that any region may run
# What a send raises when the broker cannot be reached.
BROKER_AWAY = (KombuError, redis.RedisError, OSError)
SLICE = 1000  # rows one step may move, so that a tick stays short
_TICK_LOCK = 0x7472616E  # any constant: the tick's advisory lock
# Statements that fail must not wait for a broker that is not there.
_redis = redis.Redis.from_url(
    settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1
)


class Permits(Protocol):
    """The upstream's limits as one ledger; a permit is a place and a share of rate."""

    def acquire(self, region: Region, members: Sequence[str]) -> int:
        """Grant permits to the first members; return to how many (0: none, or away)."""

    def release(self, region: str, members: Iterable[str]) -> None:
        """Give places back; unknown members are ignored."""


@dataclass(slots=True, kw_only=True)
class Ticked:
    """What one tick did."""

    leader: bool = False
    taken_back: int = 0
    expired: int = 0
    claimed: list[Job] = field(default_factory=list)


def queue_of(region: str) -> str:
    """Return the Celery queue of a region's worker pool."""
    return f"transcribe.{region}"


def permit_of(job: Job) -> str:
    """Return the name of the permit that a claim of this job holds."""
    return f"{job.pk}.{job.lease_token}"


def wake() -> None:
    """Wake the dispatcher now; a lost wake-up costs one tick and nothing else."""
    try:
        _redis.publish(WAKE_CHANNEL, "")
    except redis.RedisError:
        logger.debug("wake-up lost")


def tick(
    *, permits: Permits, only_region: str | None = None, up_since: datetime
) -> Ticked:
    """Run one round; a second dispatcher finds the lock taken and does nothing.

    ``up_since`` is when this dispatcher began: leases that ran out while it (or the
    database) was away get a full lease to be renewed before they are taken back.
    """
    ticked = Ticked()
    try:
        with transaction.atomic():
            now = _lead(ticked, up_since)
            if now is None:
                return ticked
            ticked.expired = expire(now=now)
            make_ready(now=now)
            for region in _regions(only_region):
                ticked.claimed += claim(region=region, permits=permits, now=now)
    except BaseException:
        _release(ticked.claimed, permits=permits)
        raise
    send(ticked.claimed, permits=permits, now=now)
    return ticked


def _lead(ticked: Ticked, up_since: datetime) -> datetime | None:
    """Become this tick's one dispatcher and return the database's clock, or None.

    A transaction-level lock leaves no session state, so any pooler may stand between.
    Whoever leads takes lost leases back, unless something was away for most of one.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(%s), clock_timestamp(),"
            " pg_postmaster_start_time()",
            [_TICK_LOCK],
        )
        row: tuple[bool, datetime, datetime] = cursor.fetchone()
    ticked.leader, now, server_up_since = row
    if not ticked.leader:
        return None
    if now - max(up_since, server_up_since) >= services.lease_time():
        ticked.taken_back = take_back_lost(now=now)
    return now


@cache
def _celery() -> Any:
    """Return the Celery app by its name in the settings: it is wired further left."""
    return import_string(settings.CELERY_APP)


def _regions(only: str | None) -> Iterable[Region]:
    enabled = Region.objects.filter(is_enabled=True).order_by("name")
    return enabled.filter(name=only) if only else enabled


def take_back_lost(*, now: datetime) -> int:
    """Requeue jobs whose lease ran out; return how many moved.

    A call that had begun counts as spent: its attempt becomes *unknown*, and a job
    that took ``MAX_CRASHES`` workers down with it fails.
    """
    lost = list(
        Job.objects.select_for_update(skip_locked=True)
        .filter(status=JobStatus.PROCESSING, lease_until__lt=now)
        .order_by("lease_until")[:SLICE]
    )
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


def expire(*, now: datetime) -> int:
    """End jobs whose deadline passed before they were done; return how many."""
    due = (
        Job.objects.select_for_update(skip_locked=True)
        .filter(status__in=sorted(OPEN), expires_at__lte=now)
        .order_by("expires_at")
        .values_list("pk", flat=True)[:SLICE]
    )
    ids = list(due)
    rows = Job.objects.filter(pk__in=ids)
    return len(services.advance(rows, to=JobStatus.EXPIRED, at=now)) if ids else 0


def make_ready(*, now: datetime) -> int:
    """Put jobs whose ``run_at`` has come into the claim index, one slice a tick."""
    due = Job.objects.filter(
        status=JobStatus.QUEUED, ready=False, run_at__lte=now
    ).order_by("run_at")[:SLICE]
    return Job.objects.filter(pk__in=due.values("pk"), status=JobStatus.QUEUED).update(
        ready=True
    )


def claim(*, region: Region, permits: Permits, now: datetime) -> list[Job]:
    """Claim as many jobs as can run in the region right now, permits included."""
    room = room_of(region, now=now)
    if room <= 0:
        return []
    candidates = list(
        Job.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(status=JobStatus.QUEUED, ready=True, lane=ANY_REGION)
        .order_by("priority", "id")
        .only("pk", "lease_token")[:room]
    )
    members = [f"{job.pk}.{job.lease_token + 1}" for job in candidates]
    granted = permits.acquire(region, members) if candidates else 0
    if not granted:
        return []
    try:
        # The rows are locked, so all of them move and take the granted permits.
        taken = services.advance(
            Job.objects.filter(pk__in=[job.pk for job in candidates[:granted]]),
            to=JobStatus.PROCESSING,
            at=now,
            region=region,
            lease_token=F("lease_token") + 1,
            lease_until=now + services.lease_time(),
            run_at=None,
        )
    except BaseException:
        permits.release(region.name, members[:granted])
        raise
    return sorted(taken, key=lambda job: (job.priority, job.pk))


def room_of(region: Region, *, now: datetime) -> int:
    """Return how many more jobs the region's live workers have threads for.

    What dead workers held is not counted against the living: a job is in hand here if
    it waits in the broker or if its worker was seen lately.
    """
    queue = queue_of(region.name)
    seen = Worker.objects.filter(
        seen_at__gte=now - timedelta(seconds=WORKER_SEEN_SECONDS)
    )
    live = {worker.name: worker.slots for worker in seen if queue in worker.queues}
    in_hand = (
        Job.objects.filter(status=JobStatus.PROCESSING, region=region)
        .filter(Q(worker="") | Q(worker__in=live))
        .count()
    )
    return sum(live.values()) - in_hand


def send(jobs: Iterable[Job], *, permits: Permits, now: datetime) -> None:
    """Publish claims to their region's queue; hand back what cannot be sent."""
    unsent: list[Job] = []
    for job in jobs:
        if unsent:  # the broker is away: do not wait once a job
            unsent.append(job)
            continue
        try:
            _celery().send_task(
                TRANSCRIBE_TASK,
                kwargs={
                    "job_id": str(job.pk),
                    "lease_token": job.lease_token,
                    "region": job.region_id,
                },
                task_id=permit_of(job),
                queue=queue_of(job.region_id or ""),
                priority=job.priority,
            )
        except BROKER_AWAY:
            logger.warning("broker away, claims handed back")
            unsent.append(job)
    hand_back(unsent, permits=permits, now=now)


def hand_back(jobs: list[Job], *, permits: Permits, now: datetime) -> None:
    """Return claims that never reached a worker; nothing is counted."""
    for job in jobs:
        services.advance(
            Job.objects.filter(pk=job.pk, lease_token=job.lease_token, started_at=None),
            to=JobStatus.QUEUED,
            at=now,
            data={"reason": "not_sent"},
        )
    _release(jobs, permits=permits)


def _release(jobs: Iterable[Job], *, permits: Permits) -> None:
    by_region: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        by_region[job.region_id or ""].append(permit_of(job))
    for region, members in by_region.items():
        permits.release(region, members)
