"""An endpoint's record: failures in a row, its circuit, and when it is switched off.

Any success clears it all. What an open circuit holds back is ``circuits``' business.
"""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Case, F, PositiveIntegerField, Q, Value, When
from django.db.models.functions import Coalesce

from jobs.accounts import audit
from workers.webhooks.delivery import schedule
from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.models import Trigger, WebhookEndpoint

logger = logging.getLogger(__name__)


def note_attempt(
    endpoint: WebhookEndpoint,
    *,
    answer: PostResult,
    trigger: str,
    disable: str,
    now: datetime,
) -> None:
    """Keep the endpoint's record, and switch it off when that is due."""
    if answer.is_success:
        if endpoint.failures or endpoint.trial_wait_seconds:
            _note_success(endpoint, now=now)
    else:
        _note_failure(endpoint, trigger=trigger, now=now)
        if schedule.has_failed_too_long(
            failures=endpoint.failures + 1,
            failing_since=endpoint.failing_since,
            now=now,
        ):
            disable = disable or "failing"
    if disable:
        disable_endpoint(endpoint, reason=disable, now=now)


def _note_success(endpoint: WebhookEndpoint, *, now: datetime) -> None:
    """Clear the record; what an open circuit held back is let go from now on."""
    is_open = Q(trial_wait_seconds__gt=0)
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        failures=0,
        failing_since=None,
        trial_wait_seconds=0,
        trial_at=Case(When(is_open, then=Value(now)), default=F("trial_at")),
    )


def _note_failure(endpoint: WebhookEndpoint, *, trigger: str, now: datetime) -> None:
    """Count it; the last of so many opens the circuit, a failed trial keeps it open.

    The database decides which, on the row as it is: attempts end at the same time.
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
    """Switch an endpoint off and say so, once; its open deliveries are discarded.

    They are discarded when they come due, so ten thousand of them cost nothing now.
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
