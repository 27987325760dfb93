"""An endpoint's failure count, its circuit breaker, and automatic disabling.

While the circuit is open, one trial delivery runs at a time and the others are held:
marked in their rows, so that the dispatcher's queries skip them. Holding counts no
attempt. Any success closes the circuit and releases them.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, PositiveIntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce

from jobs.accounts import audit
from workers.webhooks.delivery import schedule
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.delivery.shares import DueDelivery
from workers.webhooks.models import Trigger, WebhookDelivery, WebhookEndpoint

logger = logging.getLogger(__name__)

ENDPOINTS_PER_TICK = 50
RELEASED_PER_TICK = 1000


class EndpointCircuit(StrEnum):
    """The circuit state of a due delivery's endpoint."""

    CLOSED = "closed"
    TRIAL = "trial"
    OPEN = "open"


def record_result(
    endpoint: WebhookEndpoint,
    *,
    result: PostResult,
    trigger: str,
    disable: str,
    now: datetime,
) -> None:
    """Update the failure count and the circuit; disable the endpoint when due."""
    if result.is_success:
        if endpoint.failures or endpoint.trial_wait_seconds:
            _record_success(endpoint, now=now)
    else:
        _record_failure(endpoint, trigger=trigger, now=now)
        if schedule.has_failed_too_long(
            failures=endpoint.failures + 1,
            failing_since=endpoint.failing_since,
            now=now,
        ):
            disable = disable or "failing"
    if disable:
        disable_endpoint(endpoint, reason=disable, now=now)


def _record_success(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Reset the failure count; deliveries held by an open circuit become due."""
    is_open = Q(trial_wait_seconds__gt=0)
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        failures=0,
        failing_since=None,
        trial_wait_seconds=0,
        trial_at=Case(When(is_open, then=Value(now)), default=F("trial_at")),
    )


def _record_failure(endpoint: WebhookEndpoint, *, trigger: str, now: datetime) -> None:
    """Count the failure; open the circuit at the limit, or extend it after a trial.

    The database decides on the current row, because attempts end concurrently.
    """
    if trigger == Trigger.TRIAL:
        wait = schedule.next_trial_wait(endpoint.trial_wait_seconds)
        moves = Q(trial_wait_seconds__gt=0)
    else:
        wait = schedule.next_trial_wait(0)
        moves = Q(trial_wait_seconds=0, failures__gte=schedule.CIRCUIT_FAILURES - 1)
    trial_at = now + timedelta(seconds=wait)
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        failures=F("failures") + 1,
        failing_since=Coalesce("failing_since", Value(now)),
        trial_wait_seconds=Case(
            When(moves, then=Value(wait)),
            default=F("trial_wait_seconds"),
            output_field=PositiveIntegerField(),
        ),
        trial_at=Case(When(moves, then=Value(trial_at)), default=F("trial_at")),
    )


def disable_endpoint(endpoint: WebhookEndpoint, *, reason: str, now: datetime) -> None:
    """Disable an endpoint and write the audit event, once.

    Pending deliveries are discarded when they come due, so disabling is one update
    however many there are.
    """
    with transaction.atomic():
        changed = WebhookEndpoint.objects.filter(
            pk=endpoint.pk, is_enabled=True
        ).update(is_enabled=False, disabled_reason=reason, disabled_at=now)
        if not changed:
            return
        audit.record(
            type="webhook_endpoint.disabled",
            actor=audit.PLATFORM,
            at=now,
            tenant=endpoint.tenant,
            endpoint_id=str(endpoint.pk),
            reason=reason,
        )
    logger.warning(
        "webhook endpoint disabled",
        extra={"endpoint_id": endpoint.pk, "reason": reason},
    )


def partition_due(
    due: Iterable[DueDelivery],
) -> tuple[list[DueDelivery], list[DueDelivery]]:
    """Split due deliveries into startable (one trial per target at most) and held."""
    startable: list[DueDelivery] = []
    held: list[DueDelivery] = []
    tried: set[str] = set()
    for delivery in due:
        if delivery.circuit == EndpointCircuit.CLOSED:
            startable.append(delivery)
        elif delivery.circuit == EndpointCircuit.TRIAL and delivery.target not in tried:
            tried.add(delivery.target)
            startable.append(delivery)
        else:
            held.append(delivery)
    return startable, held


def hold_deliveries(
    deliveries: QuerySet[WebhookDelivery], *, endpoints: Iterable[UUID], now: datetime
) -> None:
    """Hold deliveries until their circuit closes or its next trial is due.

    Always updates the endpoints' rows too, so that a concurrent ``release_held`` waits
    for this transaction and does not miss the deliveries.
    """
    with transaction.atomic():
        deliveries.update(is_held=True, is_claimed=False, process="")
        WebhookEndpoint.objects.filter(pk__in=set(endpoints)).update(
            trial_at=Coalesce("trial_at", Value(now))
        )


def start_trials(endpoints: Iterable[UUID], *, until: datetime) -> None:
    """Schedule the next trial for when the current one's claim expires."""
    rows = WebhookEndpoint.objects.filter(pk__in=endpoints, trial_wait_seconds__gt=0)
    rows.update(trial_at=until)


def release_held(*, now: datetime) -> None:
    """Release held deliveries of endpoints whose ``trial_at`` has passed.

    Releases the oldest one as a trial while the circuit is open, and up to
    RELEASED_PER_TICK when it closed or the endpoint is disabled.
    """
    with transaction.atomic():
        rows = WebhookEndpoint.objects.select_for_update(skip_locked=True).filter(
            trial_at__lte=now
        )
        for endpoint in rows.order_by("trial_at")[:ENDPOINTS_PER_TICK]:
            is_open = endpoint.is_enabled and endpoint.trial_wait_seconds > 0
            limit = 1 if is_open else RELEASED_PER_TICK
            if _release(endpoint, limit=limit) < limit:
                # None left: an open circuit tries the next delivery that comes due.
                WebhookEndpoint.objects.filter(pk=endpoint.pk).update(trial_at=None)


def _release(endpoint: WebhookEndpoint, *, limit: int) -> int:
    held = WebhookDelivery.objects.filter(endpoint=endpoint, is_held=True)
    oldest = held.order_by("next_attempt_at").values("pk")[:limit]
    return WebhookDelivery.objects.filter(pk__in=oldest).update(is_held=False)
