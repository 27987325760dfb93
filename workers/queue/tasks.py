"""Celery's side of it: run what the dispatcher claimed, and keep house.

Retries live in rows, never in Celery. A task takes keyword ids, loads, makes one
service call; it accepts fields it does not know, so that old workers take new messages.
"""

import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from celery import shared_task, signals
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from jobs.accounts import tickets
from jobs.models import Attempt, Region
from jobs.quotas import counters as quota_counts
from jobs.retention import erasure
from jobs.retention import retention as content
from jobs.routing import routing_keys
from jobs.scheduling import dispatch
from jobs.scheduling.capacity import QUEUE_PREFIX
from jobs.scheduling.claims import Permit
from transcripts import services
from transcripts.backends import get_backend
from transcripts.live import sessions as live_sessions
from transcripts.search import backlog as index_backlog
from workers.deepgram import client, probe
from workers.liveness import worker_checks
from workers.liveness.heartbeat import Heartbeat
from workers.queue import storage_sweep
from workers.ratelimit.permits import get_permits
from workers.webhooks.delivery import retention as webhook_retention

logger = logging.getLogger(__name__)

# An hour's worth at the shipped limits of one region; the next run goes on.
RETENTION_LIMIT = 60_000
# A minute's worth, many times what is submitted in one.
OWN_RETENTION_LIMIT = 5_000
# A minute's worth of documents read from storage.
INDEX_LIMIT = 3_000

# A worker whose threads are all busy stops asking the broker, and notices up to a
# second later that one is free again (kombu's poll): so never are they all.
SPARE_THREADS = 1

_heartbeats: list[Heartbeat] = []


@shared_task(name=dispatch.TRANSCRIBE_TASK)
def transcribe(*, job_id: str, lease_token: int, region: str, **_future: Any) -> str:
    """Run one claim; a stale one gives back the permit that nobody will use.

    What it returns is for Flower's list alone: how the call ended, and Deepgram's id.
    """
    ran = services.transcribe_job(
        job_id=UUID(job_id),
        lease_token=lease_token,
        holder=_heartbeats[0],
        backend=get_backend(),
    )
    claim = Attempt.objects.filter(job_id=job_id, lease_token=lease_token)
    told = _tell(claim.first()) if settings.TASK_EVENTS else ""
    if not ran and not claim.exists():
        unused = Permit(
            member=f"{job_id}.{lease_token}", pools=tuple(routing_keys.POOLS)
        )
        get_permits().release(region, [unused])
    dispatch.wake()
    return told


def _tell(attempt: Attempt | None) -> str:
    if attempt is None:
        return "stale"
    return f"{attempt.outcome} {attempt.request_id or attempt.error_code}".strip()


@shared_task(name="workers.probe_regions")
def probe_regions(**_future: Any) -> None:
    """Ask each upstream whether it answers and takes our key."""
    probe.probe_regions(now=timezone.now())


@shared_task(name="workers.sweep")
def sweep(**_future: Any) -> None:
    """Erase objects without a row, and what else is past its time."""
    now = timezone.now()
    yesterday = now - timedelta(days=1)
    storage_sweep.sweep(older_than=yesterday)
    tickets.forget_tickets(before=yesterday)
    live_sessions.forget_finals()
    webhook_retention.purge_old_deliveries(now=now)


@shared_task(name="workers.retention")
def retention(**_future: Any) -> None:
    """Erase what tenants keep no longer: ended jobs, or some of what they hold."""
    now = timezone.now()
    erasure.erase_expired(limit=RETENTION_LIMIT, now=now)
    content.erase_of_tenants(limit=RETENTION_LIMIT, now=now)


@shared_task(name="workers.retention_of_jobs")
def retention_of_jobs(**_future: Any) -> None:
    """Erase what jobs asked to have erased sooner."""
    content.erase_own_due(limit=OWN_RETENTION_LIMIT, now=timezone.now())


@shared_task(name=dispatch.CLOSE_LIVE_TASK)
def close_live_sessions(**_future: Any) -> None:
    """End the live sessions whose process is lost, with what was said in them."""
    live_sessions.close_abandoned()


@shared_task(name="workers.index_transcripts")
def index_transcripts(**_future: Any) -> None:
    """Have search find transcripts that were stored without."""
    index_backlog.index_left_over(limit=INDEX_LIMIT)


@shared_task(name="workers.mend_quotas")
def mend_quotas(**_future: Any) -> None:
    """Hold the quota counters against jobs and ledger."""
    quota_counts.sweep(now=timezone.now())


@signals.worker_ready.connect
def start_heartbeat(sender: Any, **_kwargs: Any) -> None:
    """Announce the worker once it consumes."""
    queues = [queue.name for queue in sender.app.amqp.queues.consume_from.values()]
    if any(name.startswith(QUEUE_PREFIX) for name in queues):
        warm_up()
    slots = max(1, sender.controller.concurrency - SPARE_THREADS)
    heartbeat = Heartbeat(
        queues=queues,
        slots=slots,
        permits=get_permits(),
    )
    _heartbeats[:] = [heartbeat]
    heartbeat.start()
    worker_checks.begin(sender, queues, slots=slots)


def warm_up() -> None:
    """Make the Deepgram clients: a first call that did would arrive a second late."""
    with suppress(DatabaseError, InterfaceError):  # then the first calls do
        for region in Region.objects.filter(is_enabled=True):
            client.warm_up(region)
    connection.close()


@signals.worker_shutting_down.connect
def stop_announcing(**_kwargs: Any) -> None:
    """Let what runs end, and have nothing more claimed for this process."""
    worker_checks.leave()
    for heartbeat in _heartbeats:
        heartbeat.leave()
