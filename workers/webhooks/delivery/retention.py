"""Forget the log of deliveries after its time; run by the hourly sweep.

What a job's erasure takes earlier is ``erasure``'s business.
"""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction

from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)

logger = logging.getLogger(__name__)

BATCH = 1000
# More than a busy hour makes; what is left over goes with the next sweep.
BATCHES_PER_SWEEP = 500


def forget_old_deliveries(*, now: datetime) -> int:
    """Delete deliveries and their attempts past WEBHOOK_LOG_DAYS; return how many."""
    oldest = now - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    gone = 0
    for _ in range(BATCHES_PER_SWEEP):
        deleted = _forget_batch(first_id_at(oldest))
        gone += deleted
        if deleted < BATCH:
            break
    WebhookRecovery.objects.filter(created_at__lt=oldest).delete()
    # Deleted ones stayed for their log alone.
    endpoints = WebhookEndpoint.objects.filter(deleted_at__lt=oldest)
    endpoints.filter(webhookdelivery__isnull=True).delete()
    logger.info("webhook log swept", extra={"erased": gone})
    return gone


def first_id_at(moment: datetime) -> UUID:
    """Return the id that those made from then on come after: ids are time-ordered.

    So that the primary key finds the old ones, without an index of their age.
    """
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80)


def _forget_batch(first_kept: UUID) -> int:
    with transaction.atomic():
        rows = WebhookDelivery.objects.filter(pk__lt=first_kept).order_by("pk")
        locked = rows.select_for_update(skip_locked=True).values_list("pk", flat=True)
        old = list(locked[:BATCH])
        # Two statements; Django's own cascade would read every row first.
        # https://github.com/django/django/blob/5.2.19/django/db/models/query.py#L1216
        attempts = DeliveryAttempt.objects.filter(delivery__in=old)
        attempts._raw_delete(attempts.db)  # noqa: SLF001
        deliveries = WebhookDelivery.objects.filter(pk__in=old)
        deliveries._raw_delete(deliveries.db)  # noqa: SLF001
    return len(old)
