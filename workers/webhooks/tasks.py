"""Celery task that runs claimed deliveries."""

from typing import Any
from uuid import UUID

from celery import shared_task
from django.utils import timezone

from workers.webhooks.delivery import services
from workers.webhooks.delivery.dispatch import DELIVER_TASK


@shared_task(name=DELIVER_TASK)
def deliver_webhook(*, delivery_id: str, claim_token: int, **_future: Any) -> None:
    """Make one attempt; the retry schedule is stored in the row."""
    services.deliver(
        delivery_id=UUID(delivery_id), claim_token=claim_token, clock=timezone.now
    )
