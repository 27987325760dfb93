"""The webhook part of a dispatcher tick: fan out events, claim due deliveries, publish.

Retries are scheduled in rows. A delivery is published only when a live worker has a
free thread for it, by task name and after COMMIT. Losing the broker loses nothing.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Count, F, Value, When

from jobs.models import Worker
from jobs.scheduling import dispatch as jobs_dispatch
from jobs.scheduling.capacity import WORKER_SEEN_SECONDS
from jobs.scheduling.dispatch import BROKER_AWAY
from workers.webhooks.delivery import endpoint_health, fan_out, services, shares
from workers.webhooks.delivery.endpoint_health import EndpointCircuit
from workers.webhooks.delivery.shares import DueDelivery, InFlightCounts
from workers.webhooks.models import MAX_CONCURRENT_LIMIT, Trigger, WebhookDelivery

logger = logging.getLogger(__name__)

DELIVER_TASK = "webhooks.deliver"
QUEUE = "webhooks"
EVENTS_PER_TICK = 1000
# How soon a claim is due again after its publication failed.
RELEASE_DELAY_SECONDS = 1.0
_CLAIM_LOCK_ID = 0x77656268  # any constant: the key of the advisory lock

# ORDER BY makes the planner use the partial indexes whatever its row estimates.
_FIND_WORK_SQL = """
SELECT (SELECT id FROM jobs_event WHERE fanned_out_at IS NULL
        ORDER BY id LIMIT 1) IS NOT NULL,
       (SELECT next_attempt_at FROM webhooks_webhookdelivery
        WHERE next_attempt_at IS NOT NULL AND NOT is_held
        ORDER BY next_attempt_at LIMIT 1) <= %(now)s,
       (SELECT trial_at FROM webhooks_webhookendpoint WHERE trial_at IS NOT NULL
        ORDER BY trial_at LIMIT 1) <= %(now)s
"""
# Orders due deliveries round-robin by tenant, and within a tenant by target.
# Manual attempts, and deliveries that are only discarded, bypass the circuit.
_ROUND_ROBIN_SQL = """
SELECT ranked.id, ranked.tenant_id, ranked.target, ranked.endpoint_id,
       endpoint.max_concurrent,
       CASE WHEN endpoint.id IS NULL OR endpoint.trial_wait_seconds = 0
                 OR NOT endpoint.is_enabled OR ranked.trigger = 'manual' THEN 'closed'
            WHEN endpoint.trial_at > %(now)s THEN 'open'
            ELSE 'trial' END
FROM (
    SELECT due.*, row_number() OVER (
        PARTITION BY due.tenant_id ORDER BY due.target_rank, due.next_attempt_at
    ) AS tenant_rank
    FROM ({due}) due
) ranked
LEFT JOIN webhooks_webhookendpoint endpoint ON endpoint.id = ranked.endpoint_id
ORDER BY ranked.tenant_rank, ranked.next_attempt_at LIMIT %(limit)s
"""
_OLDEST_DUE_SQL = _ROUND_ROBIN_SQL.format(
    due="""
    SELECT oldest.*, row_number() OVER (
        PARTITION BY target ORDER BY next_attempt_at) AS target_rank
    FROM (
        SELECT id, tenant_id, target, endpoint_id, next_attempt_at, trigger
        FROM webhooks_webhookdelivery
        WHERE NOT is_held AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at LIMIT %(limit)s
    ) oldest
"""
)
# A loose index scan over the targets: ten thousand due deliveries of one target cost no
# more than ten. https://wiki.postgresql.org/wiki/Loose_indexscan
_DUE_PER_TARGET_SQL = _ROUND_ROBIN_SQL.format(
    due="""
    WITH RECURSIVE targets AS (
        (SELECT target FROM webhooks_webhookdelivery
         WHERE next_attempt_at IS NOT NULL AND NOT is_held ORDER BY target LIMIT 1)
        UNION ALL
        SELECT (SELECT later.target FROM webhooks_webhookdelivery later
                WHERE later.next_attempt_at IS NOT NULL AND NOT later.is_held
                  AND later.target > targets.target
                ORDER BY later.target LIMIT 1)
        FROM targets WHERE targets.target IS NOT NULL
    )
    SELECT first_few.* FROM targets CROSS JOIN LATERAL (
        SELECT id, tenant_id, target, endpoint_id, next_attempt_at, trigger,
               row_number() OVER (ORDER BY next_attempt_at) AS target_rank
        FROM webhooks_webhookdelivery
        WHERE NOT is_held AND target = targets.target
          AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at LIMIT %(per_target)s
    ) first_few
"""
)
# Enough to find startable deliveries behind those that their share holds back.
_CANDIDATES_PER_SLOT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryClaim:
    """A claimed delivery; writes under an older token have no effect."""

    delivery_id: UUID
    token: int


def tick(*, now: datetime, region: str | None = None) -> list[DeliveryClaim]:
    """Run the webhook part of one dispatcher tick; return the claims, published or not.

    1. Query in one statement whether events, deliveries or circuit trials are due.
    2. Fan out events: one delivery per event and subscribed target.
    3. Release deliveries held by circuits that closed or have a trial due.
    4. Claim the due deliveries that may start (see ``claim``).
    5. Publish each claim as a task after COMMIT; release it if the broker is down.
    """
    has_events, is_due, is_trial_due = _find_work(now)
    if has_events:
        fan_out.fan_out(limit=EVENTS_PER_TICK, now=now)
    if is_trial_due:
        endpoint_health.release_held(now=now)
    has_work = has_events or is_due or is_trial_due
    claims = claim(now=now, region=region) if has_work else []
    send(claims, now=now, region=region)
    return claims


def queue_of(region: str | None) -> str:
    """Return the queue of a region's dispatcher: its own if the region has a Redis."""
    return f"{QUEUE}.{region}" if region in settings.REGION_REDIS_URLS else QUEUE


def _find_work(now: datetime) -> tuple[bool, bool, bool]:
    """Return whether events, deliveries and trials are due, in one statement."""
    with connection.cursor() as cursor:
        cursor.execute(_FIND_WORK_SQL, {"now": now})
        has_events, is_due, is_trial_due = cursor.fetchone()
    return has_events, bool(is_due), bool(is_trial_due)


def claim(*, now: datetime, region: str | None = None) -> list[DeliveryClaim]:
    """Claim the due deliveries that may start now.

    1. Lock: one dispatcher claims at a time, so that shares are not exceeded.
    2. Count worker threads and deliveries in flight; stop if no slot is free.
    3. Read due deliveries, round-robin by tenant and target.
    4. Split off the deliveries of open circuits; choose the rest by fair share.
    5. Lock the rows; skip those locked by a worker that is recording an attempt.
    6. Hold the deliveries of open circuits. Raise the claim token of the chosen ones
       and set the claim's expiry: an expired claim is due again at the next tick.
    """
    with transaction.atomic():
        if not _try_lock():
            return []
        here, everywhere = count_slots(now=now, queue=queue_of(region))
        in_flight = count_in_flight(now=now)
        slots = min(everywhere, in_flight.by_tenant.total() + here)
        free = slots - in_flight.by_tenant.total()
        if free <= 0:
            return []
        startable, held = endpoint_health.partition_due(_find_due(now=now, free=free))
        chosen = shares.choose(startable, in_flight=in_flight, slots=slots)
        rows = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
            pk__in=[due.id for due in (*chosen, *held)],
            next_attempt_at__lte=now,
            is_held=False,
        )
        tokens = dict(rows.values_list("pk", "claim_token"))
        _hold([due for due in held if due.id in tokens], now=now)
        return _mark_claimed(
            [due for due in chosen if due.id in tokens], tokens, now=now
        )


def _hold(held: Sequence[DueDelivery], *, now: datetime) -> None:
    if held:
        endpoint_health.hold_deliveries(
            WebhookDelivery.objects.filter(pk__in=[due.id for due in held]),
            endpoints=[due.endpoint_id for due in held if due.endpoint_id],
            now=now,
        )


def _mark_claimed(
    chosen: Sequence[DueDelivery], tokens: Mapping[UUID, int], *, now: datetime
) -> list[DeliveryClaim]:
    """Claim locked rows and set the trigger of each attempt."""
    until = now + services.claim_time()
    trials = [due for due in chosen if due.circuit == EndpointCircuit.TRIAL]
    triggers = [
        When(trigger=Trigger.MANUAL, then=Value(Trigger.MANUAL)),
        When(pk__in=[due.id for due in trials], then=Value(Trigger.TRIAL)),
    ]
    WebhookDelivery.objects.filter(pk__in=[due.id for due in chosen]).update(
        is_claimed=True,
        claim_token=F("claim_token") + 1,
        next_attempt_at=until,
        trigger=Case(*triggers, default=Value(Trigger.SCHEDULED)),
    )
    if trials:
        endpoint_health.start_trials(
            [due.endpoint_id for due in trials if due.endpoint_id], until=until
        )
    return [
        DeliveryClaim(delivery_id=due.id, token=tokens[due.id] + 1) for due in chosen
    ]


def count_slots(*, now: datetime, queue: str) -> tuple[int, int]:
    """Return the threads of live webhook workers: on this queue, and on all queues."""
    seen_since = now - timedelta(seconds=WORKER_SEEN_SECONDS)
    here = everywhere = 0
    for worker in Worker.objects.filter(seen_at__gte=seen_since):
        here += worker.slots * (queue in worker.queues)
        everywhere += worker.slots * any(map(is_webhook_queue, worker.queues))
    return here, everywhere


def is_webhook_queue(queue: str) -> bool:
    """Return whether the queue carries deliveries: the shared one or a region's own."""
    return queue == QUEUE or queue.startswith(f"{QUEUE}.")


def count_in_flight(*, now: datetime) -> InFlightCounts:
    """Count deliveries whose claim has not expired."""
    in_flight = InFlightCounts()
    counts = (
        WebhookDelivery.objects.filter(is_claimed=True, next_attempt_at__gt=now)
        .values_list("tenant_id", "target")
        .annotate(number=Count("pk"))
    )
    for tenant_id, target, number in counts:
        in_flight.add(tenant_id=tenant_id, target=target, number=number)
    return in_flight


def _try_lock() -> bool:
    """Acquire the claim lock until the end of the transaction, without waiting."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_CLAIM_LOCK_ID])
        row: tuple[bool] = cursor.fetchone()
    return row[0]


def _find_due(*, now: datetime, free: int) -> list[DueDelivery]:
    """Return the candidates in round-robin order.

    Usually all due deliveries. Above the limit the oldest could all belong to one
    target, so the first few of every target are read instead.
    """
    limit = free * _CANDIDATES_PER_SLOT
    found = _query_due(_OLDEST_DUE_SQL, now=now, limit=limit)
    if len(found) < limit:
        return found
    per_target = min(free, MAX_CONCURRENT_LIMIT)
    return _query_due(_DUE_PER_TARGET_SQL, now=now, limit=limit, per_target=per_target)


def _query_due(sql: str, **parameters: Any) -> list[DueDelivery]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [
            DueDelivery(
                id=row[0],
                tenant_id=row[1],
                target=row[2],
                endpoint_id=row[3],
                max_concurrent=row[4] or shares.MAX_PER_TARGET,
                circuit=row[5],
            )
            for row in cursor.fetchall()
        ]


def send(
    claims: Iterable[DeliveryClaim], *, now: datetime, region: str | None = None
) -> None:
    """Publish claims; release those that cannot be published."""
    is_broker_down = False
    for claimed in claims:
        try:
            if not is_broker_down:  # wait for the broker's timeout once, not per claim
                _publish(claimed, region)
        except BROKER_AWAY:
            logger.warning("broker unavailable, webhook claims released")
            is_broker_down = True
        if is_broker_down:
            release_claim(claimed, now=now)


def release_claim(claim: DeliveryClaim, *, now: datetime) -> None:
    """Make an unpublished claim due again; counts no attempt."""
    WebhookDelivery.objects.filter(
        pk=claim.delivery_id, claim_token=claim.token, is_claimed=True
    ).update(
        is_claimed=False, next_attempt_at=now + timedelta(seconds=RELEASE_DELAY_SECONDS)
    )


def _publish(claim: DeliveryClaim, region: str | None) -> None:
    jobs_dispatch.publish(
        DELIVER_TASK,
        kwargs={"delivery_id": str(claim.delivery_id), "claim_token": claim.token},
        task_id=f"{claim.delivery_id}.{claim.token}",
        queue=queue_of(region),
        connection=jobs_dispatch.get_connection(region or ""),
    )
