"""Celery tasks: run claimed jobs, and periodic cleanup.

Retries are scheduled in rows, never by Celery. A task takes keyword IDs and makes one
service call. It ignores unknown fields, so that old workers accept new messages.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from celery import shared_task, signals
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from jobs.accounts import tickets
from jobs.calls import JobClaim
from jobs.models import Attempt, Region
from jobs.quotas import counters as quota_counts
from jobs.retention import erasure
from jobs.retention import retention as content
from jobs.routing import routing_keys
from jobs.scheduling import dispatch
from jobs.scheduling.capacity import QUEUE_PREFIX
from jobs.scheduling.claims import Permit
from jobs.scheduling.process_queues import queue_of_process
from transcripts import services
from transcripts.backends import get_backend
from transcripts.live import sessions as live_sessions
from transcripts.outcomes import result_storage
from transcripts.search import backlog as index_backlog
from workers.deepgram import client, probe
from workers.liveness import worker_checks
from workers.liveness.heartbeat import Heartbeat
from workers.liveness.process_rows import PROCESS_NAME
from workers.queue import process_queue, storage_sweep
from workers.ratelimit.permits import get_permits
from workers.webhooks.delivery import retention as webhook_retention
from workers.webhooks.delivery import services as webhook_services

logger = logging.getLogger(__name__)

# The hourly volume of one region at the default limits; the next run continues.
RETENTION_LIMIT = 60_000
# Per minute, many times the jobs submitted in one.
OWN_RETENTION_LIMIT = 5_000
# Documents read from storage per minute.
INDEX_LIMIT = 3_000

# A worker with all threads busy stops polling the broker and resumes up to a second
# after one is free (kombu), so one thread always stays free.
SPARE_THREADS = 1

_heartbeats: list[Heartbeat] = []


@shared_task(name=dispatch.TRANSCRIBE_TASK)
def transcribe(
    *,
    region: str,
    claims: Sequence[Sequence[Any]] = (),
    job_id: str = "",
    lease_token: int = 0,
    traceparent: str = "",
    **_future: Any,
) -> str:
    """Run claimed jobs; stale claims release their unused permits.

    Dispatchers of version 0.2 send one ``job_id`` and ``lease_token``. The return
    value is shown in Flower: the number of claims, and the outcome of each.
    """
    sent = claims or [(job_id, lease_token, traceparent)]
    batch = [JobClaim(UUID(job), token, span) for job, token, span in sent]
    outcomes = services.transcribe_claims(
        batch, holder=_heartbeats[0], backend=get_backend(), threads=_threads()
    )
    stale = [claim for claim in batch if claim not in outcomes]
    if stale:
        _release_unused(stale, region)
    if not settings.TASK_EVENTS:
        return ""
    texts = [outcomes.get(claim, "stale") for claim in batch]
    return f"{len(texts)}: {', '.join(texts)}" if len(texts) > 1 else texts[0]


def _release_unused(stale: Sequence[JobClaim], region: str) -> None:
    """Release the permits of claims that no call was made for."""
    attempts = Attempt.objects.filter(job__in=[claim.job_id for claim in stale])
    used = set(attempts.values_list("job", "lease_token"))
    unused = [
        Permit(
            member=f"{claim.job_id}.{claim.lease_token}",
            pools=tuple(routing_keys.POOLS),
        )
        for claim in stale
        if (claim.job_id, claim.lease_token) not in used
    ]
    get_permits().release(region, unused)
    dispatch.wake()


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads for the calls of a message after the first.

    A process is never sent more claims than it has slots.
    """
    return ThreadPoolExecutor(_heartbeats[0].slots, thread_name_prefix="call")


@shared_task(name="workers.probe_regions")
def probe_regions(**_future: Any) -> None:
    """Probe the API and the key of each region."""
    probe.probe_regions(now=timezone.now())


@shared_task(name="workers.sweep")
def sweep(**_future: Any) -> None:
    """Delete orphaned objects, tickets, live finals and old webhook logs."""
    now = timezone.now()
    yesterday = now - timedelta(days=1)
    storage_sweep.sweep(older_than=yesterday)
    tickets.purge_tickets(before=yesterday)
    live_sessions.purge_finals()
    webhook_retention.purge_old_deliveries(now=now)


@shared_task(name="workers.retention")
def retention(**_future: Any) -> None:
    """Erase jobs and content after the tenants' retention."""
    now = timezone.now()
    erasure.erase_expired(limit=RETENTION_LIMIT, now=now)
    content.erase_of_tenants(limit=RETENTION_LIMIT, now=now)


@shared_task(name="workers.retention_of_jobs")
def retention_of_jobs(**_future: Any) -> None:
    """Erase content after the jobs' own, shorter retention."""
    content.erase_own_due(limit=OWN_RETENTION_LIMIT, now=timezone.now())


@shared_task(name=dispatch.CLOSE_LIVE_TASK)
def close_lost_live_sessions(**_future: Any) -> None:
    """Close the live sessions of lost processes with the results stored so far."""
    live_sessions.close_abandoned()


@shared_task(name="workers.index_transcripts")
def index_transcripts(**_future: Any) -> None:
    """Index transcripts that were stored without an index."""
    index_backlog.index_unindexed(limit=INDEX_LIMIT)


@shared_task(name="workers.mend_quotas")
def repair_quotas(**_future: Any) -> None:
    """Repair quota counters that differ from jobs and attempts."""
    quota_counts.repair_counters(now=timezone.now())


signals.celeryd_after_setup.connect(process_queue.consume_own_queue)
signals.worker_shutdown.connect(process_queue.delete_own_queue)


@signals.worker_ready.connect
def start_heartbeat(sender: Any, **_kwargs: Any) -> None:
    """Start the heartbeat and the liveness checks once the worker consumes."""
    queues = [queue.name for queue in sender.app.amqp.queues.consume_from.values()]
    if any(name.startswith(QUEUE_PREFIX) for name in queues):
        warm_up()
        # Before the first claim, which adopts what is stored now.
        result_storage.drain_spool()
    slots = max(1, sender.controller.concurrency - SPARE_THREADS)
    own_queue = queue_of_process(PROCESS_NAME)
    heartbeat = Heartbeat(
        # Metrics have a label for each queue that others share.
        queues=[name for name in queues if name != own_queue],
        slots=slots,
        permits=get_permits(),
        name=PROCESS_NAME,
        accepts_claims=result_storage.is_available,
    )
    _heartbeats[:] = [heartbeat]
    heartbeat.start()
    worker_checks.begin(sender, queues, slots=slots)


def warm_up() -> None:
    """Build the Deepgram clients, which would delay the first call by a second."""
    with suppress(DatabaseError, InterfaceError):  # the first calls build them then
        for region in Region.objects.filter(is_enabled=True):
            client.warm_up(region)
    connection.close()


@signals.worker_shutting_down.connect
def withdraw_worker(**_kwargs: Any) -> None:
    """Stop new claims for this worker; its running jobs continue."""
    worker_checks.leave()
    for heartbeat in _heartbeats:
        heartbeat.leave()
    return_webhook_claims()


@signals.worker_shutdown.connect
def return_webhook_claims(**_kwargs: Any) -> None:
    """Return deliveries that were claimed for this process and have not begun.

    Also at the end: a dispatcher may have claimed some when the process began to stop.
    """
    with suppress(DatabaseError, InterfaceError):  # their claims expire
        webhook_services.return_unstarted(PROCESS_NAME, now=timezone.now())
        dispatch.wake()
    connection.close()
