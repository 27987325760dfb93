"""Erase the deliveries of erased jobs, and delete delivery logs after their retention.

A message in flight while its job is erased cannot be recalled. It is not sent again,
and the receiver's response is not stored.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from jobs.models import Content, Job
from workers.webhooks.delivery.attempts import UNSCHEDULED
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)

logger = logging.getLogger(__name__)

BATCH_SIZE = 1000
# More than a busy hour creates; the next sweep deletes the rest.
BATCHES_PER_SWEEP = 500
# A delivery must have a URL or an endpoint: this replaces a callback's URL.
ERASED_URL = "erased"


def erase_deliveries(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Erase bodies, callback URLs and responses, and discard pending deliveries.

    Includes the deliveries of batches erased with these jobs. Named in
    ``settings.ERASERS``; returns the number of rows changed by kind.
    """
    batches = {job.batch_id for job in jobs if job.batch_id}
    of_batches = Q(event__batch__in=batches, event__batch__erased_at__isnull=False)
    with transaction.atomic():
        return _erase(WebhookDelivery.objects.filter(Q(job__in=jobs) | of_batches), now)


def erase_if_due(delivery: WebhookDelivery, *, now: datetime) -> bool:
    """Erase a delivery that was fanned out while its job or batch was being erased."""
    subject = delivery.job or delivery.event.batch
    # A job that lost its transcript or payload loses its messages as well.
    is_content_erased = delivery.job and delivery.job.has_erased(
        Content.TRANSCRIPT, Content.PAYLOAD
    )
    if subject is None or not (subject.erased_at or is_content_erased):
        return False
    with transaction.atomic():
        _erase(WebhookDelivery.objects.filter(pk=delivery.pk), now)
    return True


def _erase(rows: QuerySet[WebhookDelivery], now: datetime) -> dict[str, int]:
    # Recording an attempt locks its row: after this lock its log entry exists too.
    locked = rows.select_for_update(of=("self",)).order_by("pk")
    ids = list(locked.values_list("pk", flat=True))
    rows = WebhookDelivery.objects.filter(pk__in=ids)
    bodies = rows.exclude(body=None).update(body=None)
    discarded = rows.filter(status=WebhookDelivery.Status.PENDING).update(
        status=WebhookDelivery.Status.DISCARDED, finished_at=now, **UNSCHEDULED
    )
    # Final deliveries with a manual attempt scheduled.
    rows.exclude(next_attempt_at=None).update(**UNSCHEDULED)
    rows.exclude(url="").update(url=ERASED_URL, target=ERASED_URL)
    attempts = DeliveryAttempt.objects.filter(delivery__in=ids)
    return {
        "webhook_bodies": bodies,
        "webhook_responses": attempts.exclude(response_excerpt="").update(
            response_excerpt=""
        ),
        "webhooks_discarded": discarded,
    }


def purge_old_deliveries(*, now: datetime) -> int:
    """Delete deliveries older than WEBHOOK_LOG_DAYS; return how many."""
    oldest = now - timedelta(days=settings.WEBHOOK_LOG_DAYS)
    total = 0
    for _ in range(BATCHES_PER_SWEEP):
        deleted = _purge_batch(min_id_at(oldest))
        total += deleted
        if deleted < BATCH_SIZE:
            break
    WebhookRecovery.objects.filter(created_at__lt=oldest).delete()
    # Deleted endpoints were retained only for their delivery log.
    endpoints = WebhookEndpoint.objects.filter(deleted_at__lt=oldest)
    endpoints.filter(webhookdelivery__isnull=True).delete()
    logger.info("webhook log purged", extra={"erased": total})
    return total


def min_id_at(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of a moment, to select rows by age through the key."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80)


def _purge_batch(before_id: UUID) -> int:
    with transaction.atomic():
        rows = WebhookDelivery.objects.filter(pk__lt=before_id).order_by("pk")
        locked = rows.select_for_update(skip_locked=True).values_list("pk", flat=True)
        ids = list(locked[:BATCH_SIZE])
        # Django's own cascade would load every row first.
        # https://github.com/django/django/blob/stable/5.2.x/django/db/models/query.py
        attempts = DeliveryAttempt.objects.filter(delivery__in=ids)
        attempts._raw_delete(attempts.db)  # noqa: SLF001
        deliveries = WebhookDelivery.objects.filter(pk__in=ids)
        deliveries._raw_delete(deliveries.db)  # noqa: SLF001
    return len(ids)
