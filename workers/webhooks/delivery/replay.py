"""Redeliver one message, recover an endpoint's undelivered ones, expunge responses.

A redelivered message has its original id and body, with a new timestamp and signature.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Count, F, Q, QuerySet, Value, When

from jobs.accounts import audit
from jobs.errors import Conflict, Erased, InvalidRequest, NotFound
from jobs.models import Tenant
from jobs.scheduling import dispatch
from workers.webhooks.delivery import queries as delivery_queries
from workers.webhooks.delivery.attempts import UNSCHEDULED
from workers.webhooks.models import (
    Trigger,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)

Status = WebhookDelivery.Status

RECOVER_DAYS = 14
RECOVER_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRange:
    """A range of delivery creation times, both ends included."""

    since: datetime
    until: datetime


def redeliver(
    *, tenant: Tenant, actor: str, delivery_id: UUID, now: datetime
) -> WebhookDelivery:
    """Schedule one manual attempt now, whatever the delivery's status.

    Idempotent until the attempt is made. Raises Conflict while an attempt is in flight
    or the endpoint is disabled, Erased when the body is no longer stored.
    """
    rows = WebhookDelivery.objects.filter(tenant=tenant, pk=delivery_id)
    with transaction.atomic():
        delivery = _lock(rows)
        check_can_redeliver(delivery, now=now)
        if delivery.trigger != Trigger.MANUAL:
            is_open = delivery.status == Status.PENDING
            rows.update(
                trigger=Trigger.MANUAL,
                scheduled_at=delivery.next_attempt_at if is_open else None,
                next_attempt_at=now,
                is_claimed=False,
                is_held=False,
            )
            _record("webhook_delivery.redelivered", actor, delivery, now=now)
        transaction.on_commit(dispatch.wake)
    return delivery_queries.get_delivery(tenant=tenant, delivery_id=delivery_id)


def check_can_redeliver(delivery: WebhookDelivery, *, now: datetime) -> None:
    """Raise Conflict or Erased if no manual attempt can be made."""
    if delivery.endpoint and not delivery.endpoint.is_enabled:
        message = "The delivery's endpoint is disabled. Enable it first."
        raise Conflict(message, code="endpoint_disabled")
    was_erased = delivery.job is not None and delivery.job.erased_at is not None
    if was_erased or (delivery.attempts and delivery.body is None):
        message = "The message's body is no longer stored."
        raise Erased(message, code="payload_gone")
    ends_at = delivery.next_attempt_at
    if delivery.is_claimed and ends_at and ends_at > now:
        message = "An attempt is in progress. Check its result before retrying."
        raise Conflict(message, code="delivery_in_progress")


def recover(
    *, tenant: Tenant, actor: str, endpoint_id: UUID, span: ReplayRange, now: datetime
) -> WebhookRecovery:
    """Restart the schedule of every undelivered message created in the range.

    Includes failed, discarded and pending deliveries. Concurrent requests select each
    delivery once. Raises Conflict if the endpoint is disabled.
    """
    check_range(span, now=now)
    with transaction.atomic():
        endpoint = _lock_endpoint(tenant, endpoint_id)
        if not endpoint.is_enabled:
            message = "The endpoint is disabled. Enable it first."
            raise Conflict(message, code="endpoint_disabled")
        recovery = WebhookRecovery.objects.create(
            endpoint=endpoint, since=span.since, until=span.until, created_at=now
        )
        undelivered = _find_undelivered(endpoint, span, now=now)
        found = undelivered.order_by("pk").values_list("pk", flat=True)
        # Skip rows locked by a worker that is recording an attempt.
        locked = found.select_for_update(skip_locked=True, of=("self",))
        chosen = list(locked[: RECOVER_MAX + 1])
        recovery.has_more = len(chosen) > RECOVER_MAX
        recovery.number = _restart_schedules(chosen[:RECOVER_MAX], recovery, now=now)
        recovery.save()
        _schedule_trial(endpoint, now=now)
        _record_recovery(actor, endpoint, recovery)
        transaction.on_commit(dispatch.wake)
    return recovery


def check_range(span: ReplayRange, *, now: datetime) -> None:
    """Raise InvalidRequest for a range that starts too early or is empty."""
    if span.since < now - timedelta(days=RECOVER_DAYS):
        message = f"`since` may be at most {RECOVER_DAYS} days ago."
        raise InvalidRequest(message, code="since_too_old", pointer="/since")
    if span.since >= span.until:
        message = "`since` must be before `until`, which defaults to now."
        raise InvalidRequest(message, code="field_invalid", pointer="/since")


def get_recovery(
    *, tenant: Tenant, endpoint_id: UUID, recovery_id: UUID
) -> WebhookRecovery:
    """Return a recovery of this tenant's endpoint, or raise NotFound."""
    recovery = WebhookRecovery.objects.filter(
        pk=recovery_id, endpoint=endpoint_id, endpoint__tenant=tenant
    ).first()
    if recovery is None:
        raise NotFound
    return recovery


def count_recovered(recovery: WebhookRecovery) -> dict[str, int]:
    """Return the number of a recovery's deliveries by current status."""
    rows = WebhookDelivery.objects.filter(recovery=recovery)
    found = dict(rows.values_list("status").annotate(Count("pk")).order_by())
    return {status: found.get(status, 0) for status in Status.values}


def erase_response(
    *, tenant: Tenant, actor: str, delivery_id: UUID, number: int, now: datetime
) -> None:
    """Erase the stored response of an attempt; the attempt stays in the log."""
    delivery = delivery_queries.get_delivery(tenant=tenant, delivery_id=delivery_id)
    with transaction.atomic():
        attempt = delivery_queries.get_attempt(delivery, number=number)
        stored = delivery.log.filter(pk=attempt.pk).exclude(response_excerpt="")
        if stored.update(response_excerpt=""):
            _record(
                "webhook_delivery.response_expunged",
                actor,
                delivery,
                now=now,
                attempt=number,
            )


def _lock(rows: QuerySet[WebhookDelivery]) -> WebhookDelivery:
    locked = rows.select_for_update(of=("self",)).select_related("endpoint", "job")
    delivery = locked.first()
    if delivery is None:
        raise NotFound
    return delivery


def _lock_endpoint(tenant: Tenant, endpoint_id: UUID) -> WebhookEndpoint:
    rows = WebhookEndpoint.objects.select_for_update(no_key=True)
    endpoint = rows.filter(
        tenant=tenant, pk=endpoint_id, deleted_at__isnull=True
    ).first()
    if endpoint is None:
        raise NotFound
    return endpoint


def _find_undelivered(
    endpoint: WebhookEndpoint, span: ReplayRange, *, now: datetime
) -> QuerySet[WebhookDelivery]:
    """Return deliveries without a success that are not in flight and not erased."""
    is_retrying = Q(status=Status.PENDING, next_attempt_at__gt=now, attempts__gt=0)
    has_ended = Q(status__in=[Status.FAILED, Status.DISCARDED])
    return WebhookDelivery.objects.filter(
        is_retrying | has_ended,
        Q(body__isnull=False) | Q(attempts=0),
        Q(job__isnull=True) | Q(job__erased_at__isnull=True),
        endpoint=endpoint,
        created_at__gte=span.since,
        created_at__lte=span.until,
        is_claimed=False,
        trigger=Trigger.SCHEDULED,
    )


def _restart_schedules(
    chosen: list[UUID], recovery: WebhookRecovery, *, now: datetime
) -> int:
    return WebhookDelivery.objects.filter(pk__in=chosen).update(
        **UNSCHEDULED
        | {
            "status": Status.PENDING,
            "finished_at": None,
            "next_attempt_at": now,
            "step": 0,
            "recovery": recovery,
        }
    )


def _schedule_trial(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Make an open circuit's next trial due now: a recovery means a fixed receiver."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        trial_at=Case(
            When(trial_wait_seconds__gt=0, then=Value(now)), default=F("trial_at")
        )
    )


def _record(
    type_: str, actor: str, delivery: WebhookDelivery, *, now: datetime, **data: int
) -> None:
    audit.record(
        type=type_,
        actor=actor,
        at=now,
        tenant=delivery.tenant,
        job=delivery.job,
        delivery_id=str(delivery.pk),
        **data,
    )


def _record_recovery(
    actor: str, endpoint: WebhookEndpoint, recovery: WebhookRecovery
) -> None:
    audit.record(
        type="webhook_endpoint.recovered",
        actor=actor,
        at=recovery.created_at,
        tenant=endpoint.tenant,
        endpoint_id=str(endpoint.pk),
        recovery_id=str(recovery.pk),
        deliveries=recovery.number,
    )
