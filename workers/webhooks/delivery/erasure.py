"""Erase what customers were told of a job; named in ``settings.ERASERS``.

A message that is on its way while its job is erased cannot be called back; it is not
sent again, and what its receiver answers is not kept.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from jobs.models import Content, Job
from workers.webhooks.delivery.attempts import UNSCHEDULED
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery

# A delivery has a URL or an endpoint: this stands where a callback's URL was.
ERASED_URL = "erased"


def erase_deliveries(jobs: Sequence[Job], now: datetime) -> dict[str, int]:
    """Erase bodies, callback URLs and answers; what is still to be sent is not.

    Also of what was told of their batches, where those are erased with them.
    """
    batches = {job.batch_id for job in jobs if job.batch_id}
    of_batches = Q(event__batch__in=batches, event__batch__erased_at__isnull=False)
    with transaction.atomic():
        return _erase(WebhookDelivery.objects.filter(Q(job__in=jobs) | of_batches), now)


def erase_if_due(delivery: WebhookDelivery, *, now: datetime) -> bool:
    """Erase a delivery whose subject is erased; it was fanned out at that moment."""
    subject = delivery.job or delivery.event.batch
    # Of a job that stays, what it was told of it goes with its transcript as well.
    gone = delivery.job and delivery.job.has_erased(Content.TRANSCRIPT, Content.PAYLOAD)
    if subject is None or not (subject.erased_at or gone):
        return False
    with transaction.atomic():
        _erase(WebhookDelivery.objects.filter(pk=delivery.pk), now)
    return True


def _erase(rows: QuerySet[WebhookDelivery], now: datetime) -> dict[str, int]:
    # Whoever records an attempt holds its row: afterwards its log is here as well.
    locked = rows.select_for_update(of=("self",)).order_by("pk")
    kept = list(locked.values_list("pk", flat=True))
    rows = WebhookDelivery.objects.filter(pk__in=kept)
    bodies = rows.exclude(body=None).update(body=None)
    discarded = rows.filter(status=WebhookDelivery.Status.PENDING).update(
        status=WebhookDelivery.Status.DISCARDED, finished_at=now, **UNSCHEDULED
    )
    # Final ones that somebody wanted sent once more.
    rows.exclude(next_attempt_at=None).update(**UNSCHEDULED)
    rows.exclude(url="").update(url=ERASED_URL, target=ERASED_URL)
    answers = DeliveryAttempt.objects.filter(delivery__in=kept)
    return {
        "webhook_bodies": bodies,
        "webhook_responses": answers.exclude(response_excerpt="").update(
            response_excerpt=""
        ),
        "webhooks_discarded": discarded,
    }
