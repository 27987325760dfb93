"""Record an attempt: log it, schedule the next step, update the endpoint's health."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from workers import metrics
from workers.webhooks.delivery import endpoint_health, schedule
from workers.webhooks.delivery.schedule import NextStep, PostResult, Status
from workers.webhooks.models import DeliveryAttempt, Trigger, WebhookDelivery

logger = logging.getLogger(__name__)

# The scheduling columns of a delivery without a next attempt.
UNSCHEDULED: dict[str, Any] = {
    "next_attempt_at": None,
    "scheduled_at": None,
    "trigger": Trigger.SCHEDULED,
    "is_claimed": False,
    "is_held": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedAttempt:
    """The result and the times of one attempt."""

    result: PostResult
    started_at: datetime
    ended_at: datetime


def record_attempt(
    claim: QuerySet[WebhookDelivery],
    delivery: WebhookDelivery,
    *,
    body: bytes,
    attempt: CompletedAttempt,
    draw: float,
) -> None:
    """Log the attempt and update the delivery in one transaction.

    ``claim`` selects the row by its claim token: after a newer claim only the log is
    written. Two statements, and a third if the endpoint's health changes.
    """
    now, result = attempt.ended_at, attempt.result
    step = schedule.next_step(
        result,
        attempts=delivery.step + 1,
        plan=schedule.RetrySchedule(
            delays=settings.WEBHOOK_SCHEDULE_SECONDS,
            throttled_seconds=settings.WEBHOOK_THROTTLED_SECONDS,
        ),
        draw=draw,
        now=now,
    )
    with transaction.atomic():
        moved = claim.update(
            attempts=F("attempts") + 1,
            body=body,
            **build_update(delivery, step, now=now),
        )
        if moved:
            _log(delivery, attempt, excerpt=result.excerpt)
        else:
            _log_late(delivery, attempt)
        if moved and delivery.endpoint:
            endpoint_health.record_result(
                delivery.endpoint,
                result=result,
                trigger=delivery.trigger,
                disable=step.disable,
                now=now,
            )
    outcome = str(step.status) if moved else "stale"
    _count(delivery, attempt, outcome=outcome)
    logger.info(
        "webhook attempt",
        extra={
            "delivery_id": delivery.pk,
            "tenant_id": delivery.tenant_id,
            "status": outcome,
            "answer": result.status_code or result.error,
        },
    )


def _count(
    delivery: WebhookDelivery, attempt: CompletedAttempt, *, outcome: str
) -> None:
    result, previous = attempt.result, delivery.status
    metrics.count_webhook(
        outcome=outcome,
        status_code=result.status_code,
        seconds=result.duration_ms / 1000,
    )
    if outcome == Status.DELIVERED and previous != Status.DELIVERED:
        metrics.count_delivered(created_at=delivery.created_at, now=attempt.ended_at)


def build_update(
    delivery: WebhookDelivery, step: NextStep, *, now: datetime
) -> dict[str, Any]:
    """Return the column values that end a claim.

    A failed manual attempt changes nothing: a final delivery keeps its status, a
    pending one resumes its schedule.
    """
    is_open = delivery.status == Status.PENDING
    is_manual = delivery.trigger == Trigger.MANUAL
    if step.status == Status.DELIVERED and delivery.status != Status.DELIVERED:
        return UNSCHEDULED | {"status": Status.DELIVERED, "finished_at": now}
    if not is_open:
        return UNSCHEDULED
    if is_manual and step.status != Status.DISCARDED:
        return UNSCHEDULED | {"next_attempt_at": delivery.scheduled_at}
    if step.delay is None:
        return UNSCHEDULED | {"status": step.status, "finished_at": now}
    next_attempt_at = now + timedelta(seconds=step.delay)
    return UNSCHEDULED | {"next_attempt_at": next_attempt_at, "step": F("step") + 1}


def _log_late(delivery: WebhookDelivery, attempt: CompletedAttempt) -> None:
    """Log an attempt whose claim was lost, without the response of an erased job.

    Locks the row, so that a concurrent erasure is committed before the check.
    """
    rows = WebhookDelivery.objects.filter(pk=delivery.pk)
    if rows.select_for_update().first() is None:
        return
    of_job, of_batch = Q(job__erased_at=None), Q(event__batch__erased_at=None)
    erased = not rows.filter(of_job & of_batch).exists()
    _log(delivery, attempt, excerpt="" if erased else attempt.result.excerpt)


def _log(delivery: WebhookDelivery, attempt: CompletedAttempt, *, excerpt: str) -> None:
    row = DeliveryAttempt(
        delivery=delivery,
        claim_token=delivery.claim_token,
        trigger=delivery.trigger,
        started_at=attempt.started_at,
        duration_ms=attempt.result.duration_ms,
        status_code=attempt.result.status_code,
        error=attempt.result.error,
        response_excerpt=excerpt,
    )
    # A message that the broker delivered twice is logged once.
    DeliveryAttempt.objects.bulk_create([row], ignore_conflicts=True)
