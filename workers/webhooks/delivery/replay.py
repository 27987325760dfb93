"""Send again: one delivery, or all that an endpoint did not take; and forget answers.

The bytes and the id are those of the first time, the timestamp and the signature new.
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
RECOVER_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRange:
    """A stretch of time, by when deliveries were made."""

    since: datetime
    until: datetime


def redeliver(
    *, tenant: Tenant, actor: str, delivery_id: UUID, now: datetime
) -> WebhookDelivery:
    """Have one manual attempt made soon, whatever became of the delivery so far.

    Asked again before it was made, it stays one. Raises Conflict while an attempt is
    being made or its endpoint is switched off, Erased when the bytes are gone.
    """
    mine = WebhookDelivery.objects.filter(tenant=tenant, pk=delivery_id)
    with transaction.atomic():
        delivery = _lock(mine)
        check_can_redeliver(delivery, now=now)
        if delivery.trigger != Trigger.MANUAL:
            is_open = delivery.status == Status.PENDING
            mine.update(
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
        message = "The delivery's endpoint is switched off: enable it first."
        raise Conflict(message, code="endpoint_disabled")
    was_erased = delivery.job is not None and delivery.job.erased_at is not None
    if was_erased or (delivery.attempts and delivery.body is None):
        message = "The message's bytes are not kept any more."
        raise Erased(message, code="payload_gone")
    ends_at = delivery.next_attempt_at
    if delivery.is_claimed and ends_at and ends_at > now:
        message = "An attempt is being made at this moment; look at how it ends."
        raise Conflict(message, code="delivery_in_progress")


def recover(
    *, tenant: Tenant, actor: str, endpoint_id: UUID, span: ReplayRange, now: datetime
) -> WebhookRecovery:
    """Send whatever the endpoint did not take in that time, each on a new schedule.

    Those that failed or were discarded, and those waiting for another attempt. Two
    requests at once take up each delivery once. Raises Conflict if it is switched off.
    """
    check_range(span, now=now)
    with transaction.atomic():
        endpoint = _lock_endpoint(tenant, endpoint_id)
        if not endpoint.is_enabled:
            message = "This endpoint is switched off: enable it first."
            raise Conflict(message, code="endpoint_disabled")
        recovery = WebhookRecovery.objects.create(
            endpoint=endpoint, since=span.since, until=span.until, created_at=now
        )
        undelivered = _find_undelivered(endpoint, span, now=now)
        found = undelivered.order_by("pk").values_list("pk", flat=True)
        # Whoever is just recording an attempt holds its row.
        locked = found.select_for_update(skip_locked=True, of=("self",))
        chosen = list(locked[: RECOVER_MOST + 1])
        recovery.has_more = len(chosen) > RECOVER_MOST
        recovery.number = _send_anew(chosen[:RECOVER_MOST], recovery, now=now)
        recovery.save()
        _try_circuit(endpoint, now=now)
        _record_recovery(actor, endpoint, recovery)
        transaction.on_commit(dispatch.wake)
    return recovery


def check_range(span: ReplayRange, *, now: datetime) -> None:
    """Raise InvalidRequest for a time too far back, or one that holds nothing."""
    if span.since < now - timedelta(days=RECOVER_DAYS):
        message = f"Recovery reaches back {RECOVER_DAYS} days at most."
        raise InvalidRequest(message, code="since_too_old", pointer="/since")
    if span.since >= span.until:
        message = "This must be before the end, which is now where none is given."
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
    """Count what a recovery took up by what became of it so far."""
    rows = WebhookDelivery.objects.filter(recovery=recovery)
    found = dict(rows.values_list("status").annotate(Count("pk")).order_by())
    return {status: found.get(status, 0) for status in Status.values}


def expunge_response(
    *, tenant: Tenant, actor: str, delivery_id: UUID, number: int, now: datetime
) -> None:
    """Forget what the receiver answered to an attempt; the attempt itself stays."""
    delivery = delivery_queries.get_delivery(tenant=tenant, delivery_id=delivery_id)
    with transaction.atomic():
        attempt = delivery_queries.get_attempt(delivery, number=number)
        kept = delivery.log.filter(pk=attempt.pk).exclude(response_excerpt="")
        if kept.update(response_excerpt=""):
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
    """Return what may be taken up: no success yet, not on its way, bytes kept."""
    waits = Q(status=Status.PENDING, next_attempt_at__gt=now, attempts__gt=0)
    ended = Q(status__in=[Status.FAILED, Status.DISCARDED])
    return WebhookDelivery.objects.filter(
        waits | ended,
        Q(body__isnull=False) | Q(attempts=0),
        Q(job__isnull=True) | Q(job__erased_at__isnull=True),
        endpoint=endpoint,
        created_at__gte=span.since,
        created_at__lte=span.until,
        is_claimed=False,
        trigger=Trigger.SCHEDULED,
    )


def _send_anew(chosen: list[UUID], recovery: WebhookRecovery, *, now: datetime) -> int:
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


def _try_circuit(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Let an open circuit's next trial be now: somebody says that it is mended."""
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
