"""Celery task that runs claimed deliveries."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from workers.webhooks.delivery import services
from workers.webhooks.delivery.dispatch import DELIVER_TASK
from workers.webhooks.delivery.loading import DeliveryClaim


@shared_task(name=DELIVER_TASK)
def deliver_webhooks(
    *,
    deliveries: Sequence[tuple[str, int]] = (),
    delivery_id: str = "",
    claim_token: int = 0,
    **_future: Any,
) -> str:
    """Make one attempt at each delivery; the retry schedule is stored in the rows.

    ``deliveries`` are pairs of id and claim token. Dispatchers of version 0.2 send one
    ``delivery_id`` and ``claim_token``. The return value is shown in Flower.
    """
    pairs = deliveries or [(delivery_id, claim_token)]
    claims = [DeliveryClaim(delivery_id=UUID(pk), token=token) for pk, token in pairs]
    results = services.deliver(claims, clock=timezone.now)
    return f"{len(claims)} claimed, {len(results)} attempted"
