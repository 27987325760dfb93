"""The webhooks' part of a dispatcher's tick: fan out, claim what is due, send it.

Retries and their times are rows; only what a live worker has a thread for goes to the
broker, by task name and after COMMIT. Losing the broker loses nothing.
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
from workers.webhooks.delivery import circuits, fan_out, services, shares
from workers.webhooks.delivery.circuits import EndpointCircuit
from workers.webhooks.delivery.shares import DueDelivery, InFlightCounts
from workers.webhooks.models import MAX_CONCURRENT_LIMIT, Trigger, WebhookDelivery

logger = logging.getLogger(__name__)

DELIVER_TASK = "webhooks.deliver"
QUEUE = "webhooks"
EVENTS_PER_TICK = 1000
# After a send that failed; the broker is away and the next tick is near.
HAND_BACK_SECONDS = 1.0
_CLAIM_LOCK = 0x77656268  # any constant: one dispatcher claims at a time

# Ordered, so that the partial indexes answer whatever the planner hopes for.
_QUESTIONS = """
SELECT (SELECT id FROM jobs_event WHERE fanned_out_at IS NULL
        ORDER BY id LIMIT 1) IS NOT NULL,
       (SELECT next_attempt_at FROM webhooks_webhookdelivery
        WHERE next_attempt_at IS NOT NULL AND NOT is_held
        ORDER BY next_attempt_at LIMIT 1) <= %(now)s,
       (SELECT trial_at FROM webhooks_webhookendpoint WHERE trial_at IS NOT NULL
        ORDER BY trial_at LIMIT 1) <= %(now)s
"""
# Due deliveries, tenants in turn, and each tenant's targets in turn.
# What somebody asked for, and what only has to be discarded, passes any circuit.
_IN_TURNS = """
SELECT turns.id, turns.tenant_id, turns.target, turns.endpoint_id,
       endpoint.max_concurrent,
       CASE WHEN endpoint.id IS NULL OR endpoint.trial_wait_seconds = 0
                 OR NOT endpoint.is_enabled OR turns.trigger = 'manual' THEN 'closed'
            WHEN endpoint.trial_at > %(now)s THEN 'open'
            ELSE 'trial' END
FROM (
    SELECT due.*, row_number() OVER (
        PARTITION BY due.tenant_id ORDER BY due.place, due.next_attempt_at) AS turn
    FROM ({due}) due
) turns
LEFT JOIN webhooks_webhookendpoint endpoint ON endpoint.id = turns.endpoint_id
ORDER BY turns.turn, turns.next_attempt_at LIMIT %(most)s
"""
_OLDEST_DUE = _IN_TURNS.format(
    due="""
    SELECT oldest.*, row_number() OVER (
        PARTITION BY target ORDER BY next_attempt_at) AS place
    FROM (
        SELECT id, tenant_id, target, endpoint_id, next_attempt_at, trigger
        FROM webhooks_webhookdelivery
        WHERE NOT is_held AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at LIMIT %(most)s
    ) oldest
"""
)
# The recursion hops from target to target over the index: ten thousand due of one cost
# no more than ten. https://wiki.postgresql.org/wiki/Loose_indexscan
_DUE_OF_EVERY_TARGET = _IN_TURNS.format(
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
               row_number() OVER (ORDER BY next_attempt_at) AS place
        FROM webhooks_webhookdelivery
        WHERE NOT is_held AND target = targets.target
          AND next_attempt_at <= %(now)s
        ORDER BY next_attempt_at LIMIT %(per_target)s
    ) first_few
"""
)
# Enough to find something startable behind what its share holds back.
_CANDIDATES_PER_SLOT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryClaim:
    """A delivery that is this dispatcher's to send; the token fences it."""

    delivery_id: UUID
    token: int


def tick(*, now: datetime, region: str | None = None) -> list[DeliveryClaim]:
    """Run one round; return what was claimed, sent or not."""
    events_wait, is_due, is_trial_due = _find_work(now)
    if events_wait:
        fan_out.fan_out(limit=EVENTS_PER_TICK, now=now)
    if is_trial_due:
        circuits.settle(now=now)
    has_work = events_wait or is_due or is_trial_due
    claims = claim(now=now, region=region) if has_work else []
    send(claims, now=now, region=region)
    return claims


def queue_of(region: str | None) -> str:
    """Return the queue of the workers that hear a region's dispatcher.

    Where a region has a Redis of its own, only its own workers do.
    """
    return f"{QUEUE}.{region}" if region in settings.REGION_REDIS_URLS else QUEUE


def _find_work(now: datetime) -> tuple[bool, bool, bool]:
    """Ask in one statement for events, deliveries and circuits: mostly none waits."""
    with connection.cursor() as cursor:
        cursor.execute(_QUESTIONS, {"now": now})
        events_wait, is_due, is_trial_due = cursor.fetchone()
    return events_wait, bool(is_due), bool(is_trial_due)


def claim(*, now: datetime, region: str | None = None) -> list[DeliveryClaim]:
    """Claim the due deliveries that may start now; a lost claim is due again."""
    with transaction.atomic():
        if not _is_alone():
            return []
        here, everywhere = count_slots(now=now, queue=queue_of(region))
        held = count_held(now=now)
        slots = min(everywhere, held.by_tenant.total() + here)
        free = slots - held.by_tenant.total()
        if free <= 0:
            return []
        due, held_back = circuits.sort_out(_find_due(now=now, free=free))
        chosen = shares.choose(due, held=held, slots=slots)
        # Whoever is just recording an attempt holds its row: next tick, then.
        rows = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
            pk__in=[each.id for each in (*chosen, *held_back)],
            next_attempt_at__lte=now,
            is_held=False,
        )
        tokens = dict(rows.values_list("pk", "claim_token"))
        _hold([each for each in held_back if each.id in tokens], now=now)
        return _take([each for each in chosen if each.id in tokens], tokens, now=now)


def _hold(held_back: Sequence[DueDelivery], *, now: datetime) -> None:
    if held_back:
        circuits.hold(
            WebhookDelivery.objects.filter(pk__in=[each.id for each in held_back]),
            endpoints=[each.endpoint_id for each in held_back if each.endpoint_id],
            now=now,
        )


def _take(
    chosen: Sequence[DueDelivery], tokens: Mapping[UUID, int], *, now: datetime
) -> list[DeliveryClaim]:
    """Make locked rows this dispatcher's, each with why it is sent."""
    until = now + services.claim_time()
    trials = [each for each in chosen if each.circuit == EndpointCircuit.TRIAL]
    why = [
        When(trigger=Trigger.MANUAL, then=Value(Trigger.MANUAL)),
        When(pk__in=[each.id for each in trials], then=Value(Trigger.TRIAL)),
    ]
    WebhookDelivery.objects.filter(pk__in=[each.id for each in chosen]).update(
        is_claimed=True,
        claim_token=F("claim_token") + 1,
        next_attempt_at=until,
        trigger=Case(*why, default=Value(Trigger.SCHEDULED)),
    )
    if trials:
        circuits.begin_trials(
            [each.endpoint_id for each in trials if each.endpoint_id], until=until
        )
    return [
        DeliveryClaim(delivery_id=each.id, token=tokens[each.id] + 1) for each in chosen
    ]


def count_slots(*, now: datetime, queue: str) -> tuple[int, int]:
    """Return the threads of live webhook workers: of this queue, and of all."""
    seen_since = now - timedelta(seconds=WORKER_SEEN_SECONDS)
    here = everywhere = 0
    for worker in Worker.objects.filter(seen_at__gte=seen_since):
        here += worker.slots * (queue in worker.queues)
        everywhere += worker.slots * any(map(is_ours, worker.queues))
    return here, everywhere


def is_ours(queue: str) -> bool:
    """Tell whether deliveries come by that queue: by the shared, or a region's own."""
    return queue == QUEUE or queue.startswith(f"{QUEUE}.")


def count_held(*, now: datetime) -> InFlightCounts:
    """Count what is on its way; a claim that ran out is not."""
    held = InFlightCounts()
    counts = (
        WebhookDelivery.objects.filter(is_claimed=True, next_attempt_at__gt=now)
        .values_list("tenant_id", "target")
        .annotate(number=Count("pk"))
    )
    for tenant_id, target, number in counts:
        held.add(tenant_id=tenant_id, target=target, number=number)
    return held


def _is_alone() -> bool:
    """Take the lock for this transaction: two at once would exceed the shares."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_CLAIM_LOCK])
        row: tuple[bool] = cursor.fetchone()
    return row[0]


def _find_due(*, now: datetime, free: int) -> list[DueDelivery]:
    """Return the candidates in the order of their turns.

    Usually all that is due. When it is more than can be looked at, the oldest might
    all be of one target: then some of every target.
    """
    most = free * _CANDIDATES_PER_SLOT
    found = _query_due(_OLDEST_DUE, now=now, most=most)
    if len(found) < most:
        return found
    per_target = min(free, MAX_CONCURRENT_LIMIT)
    return _query_due(_DUE_OF_EVERY_TARGET, now=now, most=most, per_target=per_target)


def _query_due(sql: str, **parameters: Any) -> list[DueDelivery]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [
            DueDelivery(
                id=row[0],
                tenant_id=row[1],
                target=row[2],
                endpoint_id=row[3],
                most=row[4] or shares.MAX_PER_TARGET,
                circuit=row[5],
            )
            for row in cursor.fetchall()
        ]


def send(
    claims: Iterable[DeliveryClaim], *, now: datetime, region: str | None = None
) -> None:
    """Publish claims; what cannot be sent is handed back at once."""
    broker_is_away = False
    for each in claims:
        try:
            if not broker_is_away:  # do not wait for it once a delivery
                _publish(each, region)
        except BROKER_AWAY:
            logger.warning("broker away, webhook claims handed back")
            broker_is_away = True
        if broker_is_away:
            hand_back(each, now=now)


def hand_back(claim: DeliveryClaim, *, now: datetime) -> None:
    """Return a claim that no worker has; nothing is counted."""
    WebhookDelivery.objects.filter(
        pk=claim.delivery_id, claim_token=claim.token, is_claimed=True
    ).update(
        is_claimed=False, next_attempt_at=now + timedelta(seconds=HAND_BACK_SECONDS)
    )


def _publish(claim: DeliveryClaim, region: str | None) -> None:
    jobs_dispatch.publish(
        DELIVER_TASK,
        kwargs={"delivery_id": str(claim.delivery_id), "claim_token": claim.token},
        task_id=f"{claim.delivery_id}.{claim.token}",
        queue=queue_of(region),
        connection=jobs_dispatch.get_connection(region or ""),
    )
