"""The dispatcher's tick, and the only door into the queue.

A tick is one transaction: take back lost leases, expire deadlines, make ready what
waited long enough, claim what can run now. After COMMIT the claims are sent to Celery
by task name; what cannot be sent is handed back at once. Nothing here calls upstream
and nothing here loops: ``workers.queue.dispatcher`` does.
"""

import logging
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string
from kombu.exceptions import KombuError

from jobs import services
from jobs.models import Job
from jobs.scheduling import claims, leases, pending_work
from jobs.scheduling.capacity import queue_of
from jobs.scheduling.claims import Permit, Permits
from jobs.scheduling.pending_work import PendingWork
from jobs.state import JobStatus
from jobs.telemetry import tracing
from jobs.telemetry.optional_redis import OptionalRedis, RedisUnavailable

logger = logging.getLogger(__name__)

TRANSCRIBE_TASK = "workers.transcribe"
CLOSE_LIVE_TASK = "workers.close_live_sessions"
WAKE_CHANNEL = "transcribe:wake"
# What a send raises when the broker cannot be reached.
BROKER_AWAY = (KombuError, redis.RedisError, OSError)
_TICK_LOCK = 0x7472616E << 32  # any constant: the tick's advisory locks
_redis = OptionalRedis(settings.REDIS_URL)


@dataclass(slots=True, kw_only=True)
class TickResult:
    """What one tick did."""

    is_crowded: bool = False
    taken_back: int = 0
    # Live sessions lost their process: somebody has to end them.
    has_lost_live: bool = False
    expired: int = 0
    claimed: list[Job] = field(default_factory=list)


def wake() -> None:
    """Wake the dispatcher now; a lost wake-up costs one tick and nothing else."""
    try:
        _redis.ask(lambda: _redis.client.publish(WAKE_CHANNEL, ""))
    except RedisUnavailable:
        logger.debug("wake-up lost")


def tick(
    *, permits: Permits, only_region: str | None = None, up_since: datetime
) -> TickResult:
    """Run one round, by the database's clock.

    A second dispatcher finds the lock taken and leaves the round to the first.

    ``up_since`` is when this dispatcher began: leases that ran out while it (or the
    database) was away get a full lease to be renewed before they are taken back.
    """
    found, ticked = pending_work.find_pending_work(), TickResult()
    if not found.is_anything:
        return ticked
    try:
        with transaction.atomic():
            ticked.is_crowded = not _lead(only_region)
            if ticked.is_crowded:
                return ticked
            recalled = _mend(found, ticked, up_since=up_since)
            for claimed in claims.claim_all(
                permits=permits, now=found.at, only_region=only_region
            ):
                ticked.claimed += claimed
    except BaseException:
        _release(ticked.claimed, permits=permits)
        raise
    _release(recalled, permits=permits)
    send(ticked.claimed, permits=permits, now=found.at)
    return ticked


def _mend(found: PendingWork, ticked: TickResult, *, up_since: datetime) -> list[Job]:
    """Do what time asks for; return the claims recalled from the broker.

    Lost leases are taken back unless something was away for most of one.
    """
    now = found.at
    was_up = now - max(up_since, found.server_up_since) >= services.lease_time()
    if found.lost and was_up:
        ticked.taken_back = leases.take_back_lost(now=now)
    ticked.has_lost_live = found.lost_live and was_up
    if found.late:
        ticked.expired = leases.expire(now=now)
    if found.waiting:
        leases.make_ready(now=now)
    return leases.recall_unsent_claims(now=now) if found.stuck else []


def _lock_of(only_region: str | None) -> int:
    """Return the lock of a scope; dispatchers of other regions do not wait for it."""
    return _TICK_LOCK + zlib.crc32((only_region or "").encode())


def _lead(only_region: str | None) -> bool:
    """Become this tick's one dispatcher.

    A transaction-level lock leaves no session state, so any pooler may stand between.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_lock_of(only_region)])
        row: tuple[bool] = cursor.fetchone()
    return row[0]


@cache
def _celery() -> Any:
    """Return the Celery app by its name in the settings: it is wired further left."""
    return import_string(settings.CELERY_APP)


@cache
def connection_of(region: str) -> Any:
    """Return the broker connection of a region with its own Redis, or None."""
    url = settings.REGION_REDIS_URLS.get(region)
    return _celery().connection_for_write(url) if url else None


def publish(task: str, **message: Any) -> None:
    """Send a task by its name; raises one of ``BROKER_AWAY``."""
    _celery().send_task(task, **message)


def send(jobs: Iterable[Job], *, permits: Permits, now: datetime) -> None:
    """Publish claims to their region's queue; hand back what cannot be sent."""
    unsent: list[Job] = []
    for job in jobs:
        if unsent:  # the broker is away: do not wait once a job
            unsent.append(job)
            continue
        try:
            _send_one(job)
        except BROKER_AWAY:
            logger.warning("broker away, claims handed back")
            unsent.append(job)
    hand_back(unsent, permits=permits, now=now)


def _send_one(job: Job) -> None:
    """Publish a claim; whoever takes it goes on with the trace."""
    facts: dict[str, tracing.Value] = {
        "transcription__job_id": str(job.pk),
        "transcription__claim": job.lease_token,
        "transcription__region": job.region_id or "",
    }
    with (
        tracing.joined(job.traceparent),
        tracing.span("claim", kind=tracing.SpanRole.PRODUCER, **facts),
    ):
        publish(
            TRANSCRIBE_TASK,
            kwargs={
                "job_id": str(job.pk),
                "lease_token": job.lease_token,
                "region": job.region_id,
                "traceparent": str(tracing.current() or ""),
            },
            task_id=claims.permit_of(job).member,
            queue=queue_of(job.region_id or ""),
            priority=job.priority,
            connection=connection_of(job.region_id or ""),
        )


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
    by_region: dict[str, list[Permit]] = defaultdict(list)
    for job in jobs:
        by_region[job.region_id or ""].append(claims.permit_of(job))
    for region, held in by_region.items():
        permits.release(region, held)
