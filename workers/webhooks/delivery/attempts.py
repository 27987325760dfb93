"""What follows from an attempt: its log, the next step, the endpoint's record.

One transaction, fenced by the claim; nothing is sent here.
"""

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

# The columns of a delivery that nothing more happens to.
UNSCHEDULED: dict[str, Any] = {
    "next_attempt_at": None,
    "scheduled_at": None,
    "trigger": Trigger.SCHEDULED,
    "is_claimed": False,
    "is_held": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedAttempt:
    """One attempt that was made."""

    answer: PostResult
    started_at: datetime
    ended_at: datetime


def record_attempt(
    claim: QuerySet[WebhookDelivery],
    delivery: WebhookDelivery,
    *,
    body: bytes,
    tried: CompletedAttempt,
    draw: float,
) -> None:
    """Log the attempt and move the delivery, unless a newer claim has it by now.

    Two statements, and one more where the endpoint's record changes.
    """
    now, answer = tried.ended_at, tried.answer
    step = schedule.next_step(
        answer,
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
            **settle(delivery, step, now=now),
        )
        if moved:
            _log(delivery, tried, excerpt=answer.excerpt)
        else:
            _log_late(delivery, tried)
        if moved and delivery.endpoint:
            endpoint_health.note_attempt(
                delivery.endpoint,
                answer=answer,
                trigger=delivery.trigger,
                disable=step.disable,
                now=now,
            )
    outcome = str(step.status) if moved else "stale"
    _count(delivery, tried, outcome=outcome)
    logger.info(
        "webhook attempt",
        extra={
            "delivery_id": delivery.pk,
            "tenant_id": delivery.tenant_id,
            "status": outcome,
            "answer": answer.status_code or answer.error,
        },
    )


def _count(delivery: WebhookDelivery, tried: CompletedAttempt, *, outcome: str) -> None:
    answer, was = tried.answer, delivery.status
    metrics.count_webhook(
        outcome=outcome,
        status_code=answer.status_code,
        seconds=answer.duration_ms / 1000,
    )
    if outcome == Status.DELIVERED and was != Status.DELIVERED:
        metrics.count_delivered(created_at=delivery.created_at, now=tried.ended_at)


def settle(
    delivery: WebhookDelivery, step: NextStep, *, now: datetime
) -> dict[str, Any]:
    """Return the columns that end a claim.

    A manual attempt that failed leaves everything as it was: a final delivery stays
    what it is, an open one goes on where its schedule was.
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


def _log_late(delivery: WebhookDelivery, tried: CompletedAttempt) -> None:
    """Log an attempt whose claim was lost; an erased job's answers are not kept.

    Whoever erases holds the delivery's row until that is committed.
    """
    rows = WebhookDelivery.objects.filter(pk=delivery.pk)
    if rows.select_for_update().first() is None:
        return
    of_job, of_batch = Q(job__erased_at=None), Q(event__batch__erased_at=None)
    erased = not rows.filter(of_job & of_batch).exists()
    _log(delivery, tried, excerpt="" if erased else tried.answer.excerpt)


def _log(delivery: WebhookDelivery, tried: CompletedAttempt, *, excerpt: str) -> None:
    attempt = DeliveryAttempt(
        delivery=delivery,
        claim_token=delivery.claim_token,
        trigger=delivery.trigger,
        started_at=tried.started_at,
        duration_ms=tried.answer.duration_ms,
        status_code=tried.answer.status_code,
        error=tried.answer.error,
        response_excerpt=excerpt,
    )
    # A message that the broker delivered twice was sent twice and is logged once.
    DeliveryAttempt.objects.bulk_create([attempt], ignore_conflicts=True)
