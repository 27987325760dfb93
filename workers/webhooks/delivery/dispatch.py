"""The webhook part of a dispatcher tick: fan out events, claim due deliveries, publish.

Retries are scheduled in rows. A delivery is claimed for a worker process that has a
free slot. After COMMIT each process gets one message with its claims of this tick.
Losing the broker loses nothing.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from jobs.models import Worker, prepared_statements
from jobs.scheduling import dispatch as jobs_dispatch
from jobs.scheduling.capacity import WORKER_SEEN_SECONDS, select_live_workers
from jobs.scheduling.dispatch import BROKER_AWAY
from jobs.scheduling.process_queues import choose_processes, message_to
from workers.webhooks.delivery import endpoint_health, fan_out, services, shares
from workers.webhooks.delivery.endpoint_health import EndpointCircuit
from workers.webhooks.delivery.loading import DeliveryClaim
from workers.webhooks.delivery.shares import DueDelivery, InFlightCounts
from workers.webhooks.models import MAX_CONCURRENT_LIMIT, WebhookDelivery

logger = logging.getLogger(__name__)

DELIVER_TASK = "webhooks.deliver"
QUEUE = "webhooks"
EVENTS_PER_TICK = 1000
# How soon a claim is due again after its publication failed.
RELEASE_DELAY_SECONDS = 1.0
_CLAIM_LOCK_ID = 0x77656268  # any constant: the key of the advisory lock

# ORDER BY … LIMIT 1 makes the planner use the partial indexes whatever its row
# estimates: the plan is made once, when the tables may be empty.
_FIND_WORK_SQL = """
SELECT (SELECT id FROM jobs_event WHERE fanned_out_at IS NULL
        ORDER BY id LIMIT 1) IS NOT NULL,
       (SELECT next_attempt_at FROM webhooks_webhookdelivery
        WHERE next_attempt_at IS NOT NULL AND NOT is_held
        ORDER BY next_attempt_at LIMIT 1) <= clock.now,
       (SELECT trial_at FROM webhooks_webhookendpoint WHERE trial_at IS NOT NULL
        ORDER BY trial_at LIMIT 1) <= clock.now,
       EXISTS (SELECT FROM jobs_worker AS worker WHERE seen_at < clock.unseen_since
               AND (SELECT process FROM webhooks_webhookdelivery
                    WHERE is_claimed AND process >= worker.name
                    ORDER BY process LIMIT 1) = worker.name)
FROM (SELECT $1::timestamptz AS now, $2::timestamptz AS unseen_since) AS clock
"""
_LOCK_SQL = "SELECT pg_try_advisory_xact_lock($1::bigint)"
_COUNT_IN_FLIGHT_SQL = """
SELECT tenant_id, target, process, count(*) FROM webhooks_webhookdelivery
WHERE is_claimed AND next_attempt_at > $1 GROUP BY 1, 2, 3
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
# Claims the rows that are still due, except those locked by a process that is recording
# an attempt, and sets the trigger of each attempt.
_CLAIM_SQL = """
WITH chosen AS (
  SELECT * FROM unnest(%(ids)s::uuid[], %(processes)s::text[], %(trials)s::bool[])
    AS each (id, process, is_trial)
), due AS (
  SELECT id FROM webhooks_webhookdelivery
  WHERE id = ANY(%(ids)s::uuid[]) AND next_attempt_at <= %(now)s AND NOT is_held
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE webhooks_webhookdelivery AS delivery
SET is_claimed = true, claim_token = claim_token + 1, next_attempt_at = %(until)s,
    process = chosen.process,
    trigger = CASE WHEN trigger = 'manual' THEN 'manual'
                   WHEN chosen.is_trial THEN 'trial' ELSE 'scheduled' END
FROM chosen JOIN due USING (id)
WHERE delivery.id = due.id
RETURNING delivery.id, delivery.claim_token, delivery.process
"""
# Enough to find startable deliveries behind those that their share holds back.
_CANDIDATES_PER_SLOT = 20


def tick(
    *, now: datetime, up_since: datetime, region: str | None = None
) -> list[DeliveryClaim]:
    """Run the webhook part of one dispatcher tick; return the claims, published or not.

    1. Query in one statement whether there is anything to do.
    2. Fan out events: one delivery per event and subscribed target.
    3. Release deliveries held by circuits that closed or have a trial due.
    4. Make due the claims of processes that died. Processes cannot announce themselves
       while the database is unavailable: this waits until it was up (``up_since``).
    5. Claim the due deliveries that may start (see ``claim``).
    6. After COMMIT, publish one task per process; release its claims if the broker is
       down.
    """
    has_events, is_due, is_trial_due, is_process_unseen = _find_work(now)
    is_lost = is_process_unseen and up_since <= _unseen_since(now)
    if not (has_events or is_due or is_trial_due or is_lost):
        return []
    if has_events and fan_out.fan_out(limit=EVENTS_PER_TICK, now=now):
        # The batches that ended or progressed have new events.
        fan_out.fan_out(limit=EVENTS_PER_TICK, now=now)
    if is_trial_due:
        endpoint_health.release_held(now=now)
    if is_lost:
        take_back_lost(now=now)
    claims = claim(now=now, region=region)
    send(claims, now=now, region=region)
    return claims


def queue_of(region: str | None) -> str:
    """Return the queue of a region's dispatcher: its own if the region has a Redis."""
    return f"{QUEUE}.{region}" if region in settings.REGION_REDIS_URLS else QUEUE


def _find_work(now: datetime) -> tuple[bool, bool, bool, bool]:
    """Return whether there is work for steps 2, 5, 3 and 4 of ``tick``."""
    parameters = [now, _unseen_since(now)]
    (row,) = prepared_statements.fetch(_FIND_WORK_SQL, parameters)
    has_events, is_due, is_trial_due, is_process_unseen = row
    return has_events, bool(is_due), bool(is_trial_due), is_process_unseen


def _unseen_since(now: datetime) -> datetime:
    """Return the time since when a live process has announced itself."""
    return now - timedelta(seconds=WORKER_SEEN_SECONDS)


def take_back_lost(*, now: datetime) -> int:
    """Make due the claims of processes that do not announce themselves any more.

    A process that stops normally deletes its row and returns what it has not begun.
    """
    unseen = Worker.objects.filter(seen_at__lt=_unseen_since(now))
    lost = WebhookDelivery.objects.filter(
        is_claimed=True, process__in=unseen.values("name")
    ).update(is_claimed=False, process="", next_attempt_at=now)
    logger.warning("claims of lost webhook workers taken back", extra={"number": lost})
    return lost


def claim(*, now: datetime, region: str | None = None) -> list[DeliveryClaim]:
    """Claim the due deliveries that may start now.

    1. Lock: one dispatcher claims at a time, so that shares are not exceeded.
    2. Count deliveries in flight and each process's free slots; stop if there are none.
    3. Read due deliveries, round-robin by tenant and target.
    4. Split off the deliveries of open circuits and hold them; choose the rest by fair
       share, and the processes with the most free slots.
    5. Raise their claim tokens and set the claims' expiry: an expired claim is due
       again at the next tick.
    """
    with transaction.atomic():
        counted = lock_and_count(now=now)
        if counted is None:
            return []
        in_flight, live = counted
        slots = count_free_slots(live, queue=queue_of(region), in_flight=in_flight)
        free = slots.total()
        if free <= 0:
            return []
        startable, held = endpoint_health.partition_due(_find_due(now=now, free=free))
        _hold(held, now=now)
        chosen = shares.choose(
            startable, in_flight=in_flight, slots=in_flight.by_tenant.total() + free
        )
        processes = choose_processes(len(chosen), free=slots)
        return _mark_claimed(chosen, processes, now=now) if chosen else []


def _hold(held: Sequence[DueDelivery], *, now: datetime) -> None:
    if not held:
        return
    rows = WebhookDelivery.objects.select_for_update(skip_locked=True).filter(
        pk__in=[due.id for due in held], next_attempt_at__lte=now, is_held=False
    )
    locked = dict(rows.values_list("pk", "endpoint_id"))
    endpoint_health.hold_deliveries(
        WebhookDelivery.objects.filter(pk__in=locked),
        endpoints=[endpoint for endpoint in locked.values() if endpoint],
        now=now,
    )


def _mark_claimed(
    chosen: Sequence[DueDelivery], processes: Sequence[str], *, now: datetime
) -> list[DeliveryClaim]:
    """Claim the deliveries for the processes, one each, and schedule their trials."""
    until = now + services.claim_time()
    trials = {due.id: due for due in chosen if due.circuit == EndpointCircuit.TRIAL}
    parameters: dict[str, Any] = {
        "ids": [due.id for due in chosen],
        "processes": list(processes),
        "trials": [due.id in trials for due in chosen],
        "now": now,
        "until": until,
    }
    claims = [
        DeliveryClaim(delivery_id=pk, token=token, process=process)
        for pk, token, process in prepared_statements.fetch(_CLAIM_SQL, parameters)
    ]
    tried = [trials[each.delivery_id] for each in claims if each.delivery_id in trials]
    if tried:
        endpoint_health.start_trials(
            [due.endpoint_id for due in tried if due.endpoint_id], until=until
        )
    return claims


def count_free_slots(
    live: Iterable[Worker], *, queue: str, in_flight: InFlightCounts
) -> Counter[str]:
    """Return the free slots of each live process that consumes this queue.

    Processes of an older version take messages from the queue itself and count
    together, as "".
    """
    slots: Counter[str] = Counter()
    for worker in live:
        if queue in worker.queues:
            slots[worker.name if worker.accepts_batches else ""] += worker.slots
    # Unary plus drops processes without a free slot.
    return +Counter(
        {name: number - in_flight.by_process[name] for name, number in slots.items()}
    )


def is_webhook_queue(queue: str) -> bool:
    """Return whether the queue carries deliveries: the shared one or a region's own."""
    return queue == QUEUE or queue.startswith(f"{QUEUE}.")


def lock_and_count(*, now: datetime) -> tuple[InFlightCounts, list[Worker]] | None:
    """Take the claim lock until the end of the transaction, without waiting.

    Return the deliveries whose claim has not expired and the live processes; None if
    another dispatcher holds the lock.
    """
    ((is_locked,),), counts, workers = prepared_statements.fetch_many(
        [
            (_LOCK_SQL, [_CLAIM_LOCK_ID]),
            (_COUNT_IN_FLIGHT_SQL, [now]),
            select_live_workers(now=now),
        ]
    )
    if not is_locked:
        return None
    in_flight = InFlightCounts()
    for tenant_id, target, process, number in counts:
        in_flight.add(tenant_id=tenant_id, target=target, number=number)
        in_flight.by_process[process] += number
    return in_flight, prepared_statements.load_all(Worker, workers)


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
    return [
        DueDelivery(
            id=row[0],
            tenant_id=row[1],
            target=row[2],
            endpoint_id=row[3],
            max_concurrent=row[4] or shares.MAX_PER_TARGET,
            circuit=row[5],
        )
        for row in prepared_statements.fetch(sql, parameters)
    ]


def send(
    claims: Iterable[DeliveryClaim], *, now: datetime, region: str | None = None
) -> None:
    """Publish claims; release those that cannot be published."""
    unsent: list[DeliveryClaim] = []
    for message, carried in _build_messages(claims, queue_of(region)):
        if unsent:  # wait for the broker's timeout once, not per message
            unsent += carried
            continue
        try:
            jobs_dispatch.publish(
                DELIVER_TASK,
                **message,
                connection=jobs_dispatch.get_connection(region or ""),
            )
        except BROKER_AWAY:
            logger.warning("broker unavailable, webhook claims released")
            unsent += carried
    if unsent:
        release_claims(unsent, now=now)


def release_claims(claims: Sequence[DeliveryClaim], *, now: datetime) -> None:
    """Make unpublished claims due again; counts no attempts."""
    services.find_claimed(claims).update(
        is_claimed=False,
        process="",
        next_attempt_at=now + timedelta(seconds=RELEASE_DELAY_SECONDS),
    )


def _build_messages(
    claims: Iterable[DeliveryClaim], queue: str
) -> Iterator[tuple[dict[str, Any], list[DeliveryClaim]]]:
    """Yield each message with its claims: one per process, or one per older claim."""
    by_process: dict[str, list[DeliveryClaim]] = defaultdict(list)
    for each in claims:
        by_process[each.process].append(each)
    for each in by_process.pop("", []):
        claimed = {"delivery_id": str(each.delivery_id), "claim_token": each.token}
        yield {"kwargs": claimed, "queue": queue}, [each]
    for process, carried in by_process.items():
        pairs = [[str(each.delivery_id), each.token] for each in carried]
        yield {"kwargs": {"deliveries": pairs}, **message_to(process)}, carried
