"""Create one delivery per event and subscribed target. Sends nothing."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs.batches import counting
from jobs.models import Event
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

_HOST = re.compile(r"\A[^:/?#]++://([^/?#]*+)")


def fan_out(*, limit: int, now: datetime) -> int:
    """Create the deliveries of up to ``limit`` events; return how many events.

    Four statements for any number. Skips rows locked by another process. Idempotent: a
    delivery is unique per event and target.
    """
    with transaction.atomic():
        events = list(
            Event.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(fanned_out_at__isnull=True)
            .select_related("job", "batch")
            .only(
                *("tenant_id", "type", "job", "job__callback_url", "job__batch_id"),
                *("batch", "batch__callback_url"),
            )
            .order_by("id")[:limit]
        )
        if not events:
            return 0
        # A constraint guarantees a tenant on every event not fanned out yet.
        owned = [(event, event.tenant_id) for event in events if event.tenant_id]
        endpoints = _find_endpoints({tenant_id for _, tenant_id in owned})
        WebhookDelivery.objects.bulk_create(
            (
                delivery
                for event, tenant_id in owned
                for delivery in _build(event, tenant_id, endpoints[tenant_id], now)
            ),
            ignore_conflicts=True,
        )
        Event.objects.filter(pk__in=[event.pk for event in events]).update(
            fanned_out_at=now
        )
        counting.count_ended(events, now=now)
    return len(events)


def _find_endpoints(tenants: Collection[UUID]) -> dict[UUID, list[WebhookEndpoint]]:
    found: dict[UUID, list[WebhookEndpoint]] = defaultdict(list)
    for endpoint in WebhookEndpoint.objects.filter(
        tenant_id__in=tenants, is_enabled=True
    ):
        found[endpoint.tenant_id].append(endpoint)
    return found


def _build(
    event: Event, tenant_id: UUID, endpoints: Iterable[WebhookEndpoint], now: datetime
) -> Iterable[WebhookDelivery]:
    """Yield the deliveries of one event: its tenant's endpoints, its job's callback."""

    def delivery(**to: Any) -> WebhookDelivery:
        return WebhookDelivery(
            tenant_id=tenant_id,
            event=event,
            job_id=event.job_id,
            next_attempt_at=now,
            created_at=now,
            **to,
        )

    for endpoint in endpoints:
        if not endpoint.event_types or event.type in endpoint.event_types:
            yield delivery(endpoint=endpoint, target=endpoint.pk.hex)
    subject = event.job or event.batch
    if subject and (url := subject.callback_url):
        yield delivery(url=url, target=f"{tenant_id.hex} {_host_of(url)}")


def _host_of(url: str) -> str:
    """Return the host to count deliveries by; "" for a URL that cannot be parsed."""
    match = _HOST.match(url)
    return match[1].lower()[:255] if match else ""
