"""Record attempts: log them, schedule the next step, update the endpoints' health."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from jobs.concurrency.group_commit import GroupCommitter
from jobs.models import prepared_statements
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
    "process": "",
}


# As long as a worker repeats the commit while the database is unavailable; later the
# claims have expired, and the messages are sent again.
GRACE_SECONDS = 15.0
# One statement logs the attempts whose claims are current and moves their deliveries.
# It is not prepared: the plan of an UPDATE with a join, made while the table is small,
# would scan it until the next ANALYZE.
_RECORD_SQL = """
WITH attempt AS (
  SELECT * FROM json_to_recordset(%(attempts)s::json) AS each (
    id uuid, token int, trigger text, started_at timestamptz, duration_ms int,
    status_code smallint, error text, excerpt text, body bytea, status text,
    step smallint, next_attempt_at timestamptz, finished_at timestamptz
  )
), moved AS (
  UPDATE webhooks_webhookdelivery AS delivery
  SET attempts = attempts + 1, body = coalesce(delivery.body, attempt.body),
      status = attempt.status, step = attempt.step,
      next_attempt_at = attempt.next_attempt_at, finished_at = attempt.finished_at,
      scheduled_at = NULL, trigger = 'scheduled', is_claimed = false, is_held = false,
      process = ''
  FROM attempt
  WHERE delivery.id = attempt.id AND delivery.claim_token = attempt.token
        AND delivery.is_claimed
  RETURNING delivery.id, delivery.claim_token
), logged AS (
  INSERT INTO webhooks_deliveryattempt (delivery_id, claim_token, trigger, started_at,
    duration_ms, status_code, error, response_excerpt)
  SELECT id, token, trigger, started_at, duration_ms, status_code, error, excerpt
  FROM attempt JOIN moved USING (id)
  ON CONFLICT DO NOTHING
)
SELECT id, claim_token FROM moved
"""


@dataclass(slots=True, kw_only=True)
class CompletedAttempt:
    """An attempt at a claimed delivery: its message, result and times."""

    delivery: WebhookDelivery
    body: bytes
    result: PostResult
    step: NextStep
    started_at: datetime
    ended_at: datetime
    # False after the commit if there was a newer claim, or an erasure.
    is_current: bool = True


def choose_step(
    delivery: WebhookDelivery, result: PostResult, *, draw: float, now: datetime
) -> NextStep:
    """Decide what follows an attempt, by the schedule of the settings."""
    return schedule.next_step(
        result,
        attempts=delivery.step + 1,
        plan=schedule.RetrySchedule(
            delays=settings.WEBHOOK_SCHEDULE_SECONDS,
            throttled_seconds=settings.WEBHOOK_THROTTLED_SECONDS,
        ),
        draw=draw,
        now=now,
    )


def record_attempt(attempt: CompletedAttempt) -> None:
    """Log the attempt and update the delivery and its endpoint's health.

    Attempts that end at the same time are committed together. If the claim is not
    current any more, only the log is written.
    """
    _committer.submit(attempt)
    outcome = str(attempt.step.status) if attempt.is_current else "stale"
    _count(attempt, outcome=outcome)
    logger.info(
        "webhook attempt",
        extra={
            "delivery_id": attempt.delivery.pk,
            "tenant_id": attempt.delivery.tenant_id,
            "status": outcome,
            "answer": attempt.result.status_code or attempt.result.error,
        },
    )


def _commit(attempts: Sequence[CompletedAttempt], _now: datetime) -> None:
    """Record attempts in one transaction: one statement, and others for failures."""
    with transaction.atomic():
        moved = _record(attempts)
        for attempt in attempts:
            claim = (attempt.delivery.pk, attempt.delivery.claim_token)
            attempt.is_current = claim in moved
            # A message that the broker delivered twice counts once.
            moved.discard(claim)
            if not attempt.is_current:
                _log_late(attempt)
        # In a fixed order, to avoid deadlocks between processes.
        for attempt in sorted(attempts, key=_by_endpoint):
            if attempt.is_current and attempt.delivery.endpoint:
                endpoint_health.record_result(
                    attempt.delivery.endpoint,
                    result=attempt.result,
                    trigger=attempt.delivery.trigger,
                    disable=attempt.step.disable,
                    now=attempt.ended_at,
                )


_committer = GroupCommitter(_commit, grace=lambda: GRACE_SECONDS)


def _by_endpoint(attempt: CompletedAttempt) -> tuple[str, datetime]:
    return str(attempt.delivery.endpoint_id), attempt.ended_at


def _record(attempts: Iterable[CompletedAttempt]) -> set[tuple[UUID, int]]:
    """Execute ``_RECORD_SQL``; return the claims that it ended, by id and token."""
    rows = [
        _build_row(attempt)
        for attempt in sorted(attempts, key=lambda each: each.delivery.pk)
    ]
    with connection.cursor() as cursor:
        cursor.execute(_RECORD_SQL, {"attempts": prepared_statements.encode_rows(rows)})
        return set(cursor.fetchall())


def _build_row(attempt: CompletedAttempt) -> dict[str, Any]:
    delivery, result = attempt.delivery, attempt.result
    unchanged = {
        name: getattr(delivery, name) for name in ("status", "step", "finished_at")
    }
    ended = build_update(delivery, attempt.step, now=attempt.ended_at)
    return {
        "id": delivery.pk,
        "token": delivery.claim_token,
        "trigger": delivery.trigger,
        "started_at": attempt.started_at,
        "duration_ms": result.duration_ms,
        "status_code": result.status_code,
        "error": result.error,
        "excerpt": result.excerpt,
        # Stored at the first attempt.
        "body": attempt.body if delivery.body is None else None,
        **{name: (unchanged | ended)[name] for name in (*unchanged, "next_attempt_at")},
    }


def _count(attempt: CompletedAttempt, *, outcome: str) -> None:
    delivery, result = attempt.delivery, attempt.result
    metrics.count_webhook(
        outcome=outcome,
        status_code=result.status_code,
        seconds=result.duration_ms / 1000,
    )
    if outcome == Status.DELIVERED and delivery.status != Status.DELIVERED:
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
    return UNSCHEDULED | {"next_attempt_at": next_attempt_at, "step": delivery.step + 1}


def _log_late(attempt: CompletedAttempt) -> None:
    """Log an attempt whose claim was lost, without the response of an erased job.

    Locks the row, so that a concurrent erasure is committed before the check.
    """
    delivery, result = attempt.delivery, attempt.result
    rows = WebhookDelivery.objects.filter(pk=delivery.pk)
    if rows.select_for_update().first() is None:
        return
    of_job, of_batch = Q(job__erased_at=None), Q(event__batch__erased_at=None)
    erased = not rows.filter(of_job & of_batch).exists()
    row = DeliveryAttempt(
        delivery=delivery,
        claim_token=delivery.claim_token,
        trigger=delivery.trigger,
        started_at=attempt.started_at,
        duration_ms=result.duration_ms,
        status_code=result.status_code,
        error=result.error,
        response_excerpt="" if erased else result.excerpt,
    )
    # A message that the broker delivered twice is logged once.
    DeliveryAttempt.objects.bulk_create([row], ignore_conflicts=True)
