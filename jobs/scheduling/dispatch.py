"""The dispatcher's tick: the only code that sends jobs to Celery.

The loop around it is in ``workers.queue.dispatcher``. Nothing here calls Deepgram.
"""

import logging
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string
from kombu.exceptions import KombuError

from jobs import services
from jobs.models import Job, prepared_statements
from jobs.scheduling import claims, leases, pending_work
from jobs.scheduling.capacity import queue_of
from jobs.scheduling.claims import Permit, Permits
from jobs.scheduling.pending_work import PendingWork
from jobs.scheduling.process_queues import message_to, queue_of_process
from jobs.state import JobStatus
from jobs.telemetry import tracing
from jobs.telemetry.optional_redis import OptionalRedis, RedisUnavailable

logger = logging.getLogger(__name__)

TRANSCRIBE_TASK = "workers.transcribe"
CLOSE_LIVE_TASK = "workers.close_live_sessions"
WAKE_CHANNEL = "transcribe:wake"
# Raised by a send when the broker is unreachable.
BROKER_AWAY = (KombuError, redis.RedisError, OSError)
_TICK_LOCK = 0x7472616E << 32  # an arbitrary constant: base of the advisory locks
_redis = OptionalRedis(settings.REDIS_URL)


# Whether the caller wakes the dispatcher after something else that it does.
_wakes_later: ContextVar[bool] = ContextVar("wakes_later", default=False)


@dataclass(slots=True, kw_only=True)
class TickResult:
    """The result of one tick."""

    # Another dispatcher ran this tick.
    is_second: bool = False
    requeued: int = 0
    # Live sessions lost their process and have to be closed.
    has_lost_live: bool = False
    expired: int = 0
    claimed: list[Job] = field(default_factory=list)
    # There was nothing to do, until then at least, unless a wake-up comes first.
    is_idle: bool = False
    next_at: datetime | None = None
    # The broker refused messages: claims were requeued.
    is_broker_away: bool = False


def wake() -> None:
    """Wake the dispatcher now; a lost wake-up costs one tick and nothing else."""
    if _wakes_later.get():
        return
    try:
        _redis.call(lambda: _redis.client.publish(WAKE_CHANNEL, ""))
    except RedisUnavailable:
        logger.debug("wake-up lost")


@contextmanager
def wake_later() -> Iterator[None]:
    """Skip the wake-ups in here: the caller wakes once it has released permits, too."""
    token = _wakes_later.set(True)
    try:
        yield
    finally:
        _wakes_later.reset(token)


def tick(
    *,
    permits: Permits,
    only_region: str | None = None,
    up_since: datetime,
    may_claim: bool = True,
) -> TickResult:
    """Run one tick, by the database's clock; without ``may_claim`` step 6 is skipped.

    1. Query for pending work; return if there is none.
    2. Begin a transaction and take the tick's advisory lock; return if another
       dispatcher has it.
    3. Requeue jobs whose lease expired, unless this dispatcher (``up_since``) or the
       database was down during most of one lease: workers then get a full lease to
       renew theirs.
    4. Expire jobs past their deadline; make jobs ready whose ``run_at`` has come.
    5. Requeue claims whose process left, or that no process can start.
    6. Claim the jobs that can run now.
    7. Commit, release the permits of step 5, and send the claims to Celery by task
       name; requeue those that cannot be sent.
    """
    pending, result = pending_work.find_pending_work(), TickResult()
    if not pending.has_any:
        result.is_idle, result.next_at = True, pending.next_at
        return result
    try:
        with transaction.atomic():
            result.is_second = not _try_lead(only_region)
            if result.is_second:
                return result
            recalled = _run_due_work(pending, result, up_since=up_since)
            if may_claim:
                for claimed in claims.claim_all(
                    permits=permits, now=pending.at, only_region=only_region
                ):
                    result.claimed += claimed
    except BaseException:
        _release(result.claimed, permits=permits)
        raise
    _release(recalled, permits=permits)
    result.is_broker_away = not send(result.claimed, permits=permits, now=pending.at)
    return result


def _run_due_work(
    pending: PendingWork, result: TickResult, *, up_since: datetime
) -> list[Job]:
    """Run steps 3 to 5 of a tick; return the claims recalled from the broker."""
    now = pending.at
    was_up = now - max(up_since, pending.server_up_since) >= services.lease_time()
    if pending.lost_leases and was_up:
        result.requeued = leases.requeue_lost(now=now)
    result.has_lost_live = pending.lost_live_leases and was_up
    if pending.passed_deadlines:
        result.expired = leases.expire(now=now)
    if pending.passed_run_times:
        leases.make_ready(now=now)
    return leases.recall_unstarted_claims(now=now) if pending.unstarted_claims else []


def _lock_id(only_region: str | None) -> int:
    """Return the lock of a scope; dispatchers of different regions do not compete."""
    return _TICK_LOCK + zlib.crc32((only_region or "").encode())


def _try_lead(only_region: str | None) -> bool:
    """Take the tick's lock; return False if another dispatcher has it.

    A transaction-level lock leaves no session state, so it works behind any pooler.
    """
    lock = "SELECT pg_try_advisory_xact_lock($1::bigint)"
    # In one round trip with the BEGIN.
    (((is_leading,),),) = prepared_statements.fetch_many(
        [(lock, [_lock_id(only_region)])]
    )
    return bool(is_leading)


@cache
def _celery() -> Any:
    """Return the Celery app; imported by name, because it is in a higher layer."""
    return import_string(settings.CELERY_APP)


@cache
def get_connection(region: str) -> Any:
    """Return the broker connection of a region with its own Redis, or None."""
    url = settings.REGION_REDIS_URLS.get(region)
    # The scheme of its URL decides about TLS, not the main broker's settings.
    return _celery().connection_for_write(url, ssl=False) if url else None


def publish(task: str, **message: Any) -> None:
    """Send a task by its name; raises one of ``BROKER_AWAY``."""
    _celery().send_task(task, **message)


def delete_process_queue(process: str) -> None:
    """Delete the queue of a process that ended; its messages are stale."""
    try:
        with _celery().connection_for_write() as broker:
            broker.default_channel.queue_delete(queue_of_process(process))
    except BROKER_AWAY:
        logger.warning("queue not deleted", extra={"worker": process})


def send(jobs: Iterable[Job], *, permits: Permits, now: datetime) -> bool:
    """Publish claims; requeue those that cannot be sent and return False then.

    One message per process that accepts batches, else one per claim.
    """
    messages: dict[tuple[str, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        single = () if job.worker else (str(job.pk),)
        messages[(job.region_id or "", job.worker, *single)].append(job)
    unsent: list[Job] = []
    for claimed in messages.values():
        if unsent:  # the broker is away: do not wait for a timeout per message
            unsent += claimed
            continue
        try:
            _send_batch(claimed) if claimed[0].worker else _send_one(claimed[0])
        except BROKER_AWAY:
            logger.warning("broker unreachable, claims requeued")
            unsent += claimed
    requeue_unsent(unsent, permits=permits, now=now)
    return not unsent


def _send_batch(jobs: Sequence[Job]) -> None:
    """Publish the claims of one process and region in one message."""
    sent = []
    for job in jobs:
        with _traced(job):
            sent.append([str(job.pk), job.lease_token, str(tracing.current() or "")])
    first = jobs[0]
    publish(
        TRANSCRIBE_TASK,
        kwargs={"region": first.region_id, "claims": sent},
        task_id=claims.permit_of(first).member,
        connection=get_connection(first.region_id or ""),
        **message_to(first.worker),
    )


@contextmanager
def _traced(job: Job) -> Iterator[None]:
    """Record the claim in the job's trace."""
    attributes: dict[str, tracing.Value] = {
        "transcription__job_id": str(job.pk),
        "transcription__claim": job.lease_token,
        "transcription__region": job.region_id or "",
    }
    with (
        tracing.joined(job.traceparent),
        tracing.span("claim", kind=tracing.SpanRole.PRODUCER, **attributes),
    ):
        yield


def _send_one(job: Job) -> None:
    """Publish a claim to its region's queue; the worker continues its trace."""
    with _traced(job):
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
            connection=get_connection(job.region_id or ""),
        )


def requeue_unsent(jobs: list[Job], *, permits: Permits, now: datetime) -> None:
    """Requeue claims that never reached a worker; no attempt is counted."""
    by_token: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        by_token[job.lease_token].append(job)
    for token, unsent in by_token.items():
        services.advance(
            Job.objects.filter(
                pk__in=[job.pk for job in unsent], lease_token=token, started_at=None
            ),
            to=JobStatus.QUEUED,
            at=now,
            data={"reason": "not_sent"},
        )
    _release(jobs, permits=permits)


def _release(jobs: Iterable[Job], *, permits: Permits) -> None:
    by_region: dict[str, list[Permit]] = defaultdict(list)
    for job in jobs:
        by_region[job.region_id or ""].append(claims.permit_of(job))
    for region, released in by_region.items():
        permits.release(region, released)
