"""Create one delivery per event and subscribed target. Sends nothing.

A job's last event gets its deliveries in the transaction that ends the job. What else
is in the outbox is fanned out by the dispatcher: events of batches, pings, and events
that processes of an older version wrote. It also counts the ended jobs of batches, so
that a job that ends never waits for the row of its batch.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs.batches import counting
from jobs.models import Event, Job, prepared_statements
from jobs.scheduling import dispatch
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

_HOST = re.compile(r"\A[^:/?#]++://([^/?#]*+)")


def build_deliveries(
    events: Sequence[Event], jobs: Mapping[UUID, Job], at: datetime
) -> list[WebhookDelivery]:
    """Return the deliveries of the last events of jobs, inserted with the events.

    One statement for any number. Named in ``settings.EVENT_SUBSCRIBERS``.
    """
    callbacks = {}
    for event in events:
        if event.job_id:
            job = jobs[event.job_id]
            callbacks[event.pk] = job.callback_url
            event.has_deliveries = True
            event.fanned_out_at = None if job.batch_id else at
    deliveries = _build_deliveries(events, callbacks, now=at)
    if deliveries:
        # An idle dispatcher pauses for longer than a tick.
        transaction.on_commit(dispatch.wake)
    return deliveries


def fan_out(*, limit: int, now: datetime) -> int:
    """Create the deliveries of up to ``limit`` events; return how many events.

    The number of statements is the same for any number. Skips rows locked by another
    process. Idempotent: a delivery is unique per event and target.
    """
    with transaction.atomic():
        events = list(
            Event.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(fanned_out_at__isnull=True)
            .select_related("job", "batch")
            .only(
                *("tenant_id", "type", "has_deliveries"),
                *("job", "job__callback_url", "job__batch_id"),
                *("batch", "batch__callback_url"),
            )
            .order_by("id")[:limit]
        )
        if not events:
            return 0
        bare = [event for event in events if not event.has_deliveries]
        subjects = {event.pk: event.job or event.batch for event in bare}
        callbacks = {
            pk: subject.callback_url for pk, subject in subjects.items() if subject
        }
        deliveries = _build_deliveries(bare, callbacks, now=now)
        WebhookDelivery.objects.bulk_create(deliveries, ignore_conflicts=True)
        Event.objects.filter(pk__in=[event.pk for event in events]).update(
            fanned_out_at=now
        )
        counting.count_ended(events, now=now)
    return len(events)


def _build_deliveries(
    events: Iterable[Event], callbacks: Mapping[UUID, str], *, now: datetime
) -> list[WebhookDelivery]:
    """Return a delivery for each event and target; ``callbacks``: URLs by event."""
    # A constraint guarantees a tenant on every event not fanned out yet.
    owned = [(event, event.tenant_id) for event in events if event.tenant_id]
    if not owned:
        return []
    endpoints = _find_endpoints({tenant_id for _, tenant_id in owned})
    return [
        WebhookDelivery(
            tenant_id=tenant_id,
            event_id=event.pk,
            job_id=event.job_id,
            next_attempt_at=now,
            created_at=now,
            **target,
        )
        for event, tenant_id in owned
        for target in _find_targets(
            event, tenant_id, endpoints[tenant_id], callbacks.get(event.pk, "")
        )
    ]


def _find_endpoints(tenants: Collection[UUID]) -> dict[UUID, list[WebhookEndpoint]]:
    found: dict[UUID, list[WebhookEndpoint]] = defaultdict(list)
    select = prepared_statements.select(
        WebhookEndpoint, "tenant_id = ANY($1) AND is_enabled"
    )
    rows = prepared_statements.fetch(select, [list(tenants)])
    for endpoint in prepared_statements.load_all(WebhookEndpoint, rows):
        found[endpoint.tenant_id].append(endpoint)
    return found


def _find_targets(
    event: Event, tenant_id: UUID, endpoints: Iterable[WebhookEndpoint], callback: str
) -> Iterator[dict[str, Any]]:
    """Yield the target columns of the event's deliveries."""
    for endpoint in endpoints:
        if not endpoint.event_types or event.type in endpoint.event_types:
            yield {"endpoint_id": endpoint.pk, "target": endpoint.pk.hex}
    if callback:
        yield {"url": callback, "target": f"{tenant_id.hex} {_host_of(callback)}"}


def _host_of(url: str) -> str:
    """Return the host to count deliveries by; "" for a URL that cannot be parsed."""
    match = _HOST.match(url)
    return match[1].lower()[:255] if match else ""
