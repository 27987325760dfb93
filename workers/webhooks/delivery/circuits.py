"""Endpoints that answer nothing well: one trial at a time, the others held back.

Held is not failed: nothing is counted, and a success lets them all go. They are marked
in their rows, in bounded slices, so that neither the tick nor its indexes meet them
again and again. Opening and closing is ``health``'s business.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Coalesce

from workers.webhooks.delivery.shares import DueDelivery
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

ENDPOINTS_PER_TICK = 50
RELEASED_PER_TICK = 1000


class EndpointCircuit(StrEnum):
    """How a due delivery's endpoint stands."""

    CLOSED = "closed"
    TRIAL = "trial"
    OPEN = "open"


def sort_out(due: Iterable[DueDelivery]) -> tuple[list[DueDelivery], list[DueDelivery]]:
    """Part what may start, at most one trial of a target, from what is held back."""
    may_start: list[DueDelivery] = []
    held_back: list[DueDelivery] = []
    tried: set[str] = set()
    for each in due:
        if each.circuit == EndpointCircuit.CLOSED:
            may_start.append(each)
        elif each.circuit == EndpointCircuit.TRIAL and each.target not in tried:
            tried.add(each.target)
            may_start.append(each)
        else:
            held_back.append(each)
    return may_start, held_back


def hold(
    deliveries: QuerySet[WebhookDelivery], *, endpoints: Iterable[UUID], now: datetime
) -> None:
    """Put deliveries aside until their circuit closes or its next trial.

    Touches the endpoints' rows in any case: ``settle`` must not look at one, find
    nothing held, and forget it, while this is not committed yet.
    """
    with transaction.atomic():
        deliveries.update(is_held=True, is_claimed=False)
        WebhookEndpoint.objects.filter(pk__in=set(endpoints)).update(
            trial_at=Coalesce("trial_at", Value(now))
        )


def begin_trials(endpoints: Iterable[UUID], *, until: datetime) -> None:
    """Note that a trial is on its way: the next one is after its claim has run out."""
    rows = WebhookEndpoint.objects.filter(pk__in=endpoints, trial_wait_seconds__gt=0)
    rows.update(trial_at=until)


def settle(*, now: datetime) -> None:
    """Let go what waits at circuits whose time has come.

    The oldest as a trial where the circuit is open, a slice of them where it closed or
    nothing more is sent to the endpoint (those end when they come due).
    """
    with transaction.atomic():
        rows = WebhookEndpoint.objects.select_for_update(skip_locked=True).filter(
            trial_at__lte=now
        )
        for endpoint in rows.order_by("trial_at")[:ENDPOINTS_PER_TICK]:
            is_open = endpoint.is_enabled and endpoint.trial_wait_seconds > 0
            wanted = 1 if is_open else RELEASED_PER_TICK
            if _release(endpoint, number=wanted) < wanted:
                # None left: an open circuit tries whatever comes due next.
                WebhookEndpoint.objects.filter(pk=endpoint.pk).update(trial_at=None)


def _release(endpoint: WebhookEndpoint, *, number: int) -> int:
    held = WebhookDelivery.objects.filter(endpoint=endpoint, is_held=True)
    oldest = held.order_by("next_attempt_at").values("pk")[:number]
    return WebhookDelivery.objects.filter(pk__in=oldest).update(is_held=False)
