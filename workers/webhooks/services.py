"""Tell customers: events become deliveries, and a delivery one attempt at a time.

At least once, with a stable id: a worker killed after the POST and before the commit
sends again when its claim runs out. When to attempt, and how many at once, is
``dispatch``'s business.
"""

import logging
import random
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Coalesce

from jobs import audit, batches
from jobs.models import Event
from workers.webhooks import erasure, payloads, schedule, secrets, signing, transport
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint
from workers.webhooks.schedule import Answer

logger = logging.getLogger(__name__)
Payload = WebhookEndpoint.Payload

# A claim outlives the attempt by this much: the way through the broker, the commit.
CLAIM_MARGIN_SECONDS = 15.0
_HOST = re.compile(r"[^:/?#]+://([^/?#]*)")


class Post(Protocol):
    """Whatever sends the message: ``transport.post``."""

    def __call__(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Make one attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One attempt's request, built before the connection is given back."""

    url: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attempt that was made."""

    answer: Answer
    started_at: datetime
    ended_at: datetime


def claim_time() -> timedelta:
    """Return how long a claim lives: one whole attempt and the way to it."""
    return timedelta(seconds=settings.WEBHOOK_TIMEOUT_SECONDS + CLAIM_MARGIN_SECONDS)


def fan_out(*, limit: int, now: datetime) -> int:
    """Turn up to ``limit`` events into deliveries; return how many events.

    Four statements whatever the number. Rows that another process holds are its own,
    and twice is harmless: a delivery is unique per event and target.
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
        # The table holds that whatever is still to be told has a tenant.
        told = [(event, event.tenant_id) for event in events if event.tenant_id]
        endpoints = _endpoints_of({tenant_id for _, tenant_id in told})
        WebhookDelivery.objects.bulk_create(
            (
                delivery
                for event, tenant_id in told
                for delivery in _plan(event, tenant_id, endpoints[tenant_id], now)
            ),
            ignore_conflicts=True,
        )
        Event.objects.filter(pk__in=[event.pk for event in events]).update(
            fanned_out_at=now
        )
        batches.count_ended(events, now=now)
    return len(events)


def _endpoints_of(tenants: Collection[UUID]) -> dict[UUID, list[WebhookEndpoint]]:
    found: dict[UUID, list[WebhookEndpoint]] = defaultdict(list)
    for endpoint in WebhookEndpoint.objects.filter(
        tenant_id__in=tenants, is_enabled=True
    ):
        found[endpoint.tenant_id].append(endpoint)
    return found


def _plan(
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
    """Return the host for accounting; a URL that cannot be read has none."""
    match = _HOST.match(url)
    return match[1].lower()[:255] if match else ""


def deliver(
    *,
    delivery_id: UUID,
    claim_token: int,
    clock: Callable[[], datetime],
    post: Post = transport.post,
    draw: Callable[[], float] = random.random,
) -> Answer | None:
    """Make the one attempt of this claim and record what follows from it.

    Returns None without sending when the claim is stale or the message is not wanted
    any more. Holds no database connection while it sends.
    """
    started_at = clock()
    claim = WebhookDelivery.objects.filter(
        pk=delivery_id, claim_token=claim_token, is_claimed=True
    )
    found = claim.select_related("event", "job__transcript", "endpoint")
    delivery = next(iter(found), None)
    if delivery is None or not _holds_long_enough(claim, delivery, now=started_at):
        return None
    if delivery.endpoint and not delivery.endpoint.is_enabled:
        finish(claim, status=WebhookDelivery.Status.DISCARDED, now=started_at)
        return None
    if delivery.job and delivery.job.erased_at:  # fanned out while it was erased
        erasure.erase_deliveries([delivery.job], started_at)
        return None
    message = build_message(delivery, now=started_at)
    # A slow receiver must not keep a connection from the others.
    if not connection.in_atomic_block:
        connection.close()
    answer = post(message.url, headers=message.headers, body=message.body)
    record_attempt(
        claim,
        delivery,
        message=message,
        tried=Tried(answer=answer, started_at=started_at, ended_at=clock()),
        draw=draw(),
    )
    return answer


def _holds_long_enough(
    claim: QuerySet[WebhookDelivery], delivery: WebhookDelivery, *, now: datetime
) -> bool:
    """Extend a claim that waited long in the broker; false if it was lost meanwhile."""
    ends_at = delivery.next_attempt_at
    if ends_at and (ends_at - now).total_seconds() >= settings.WEBHOOK_TIMEOUT_SECONDS:
        return True
    return claim.update(next_attempt_at=now + claim_time()) > 0


def build_message(delivery: WebhookDelivery, *, now: datetime) -> Message:
    """Build the request of one attempt: the same bytes each time, signed anew."""
    body, endpoint = delivery.body, delivery.endpoint
    if body is None:
        body = payloads.serialise(
            payloads.build_body(
                event=delivery.event,
                job=delivery.job,
                transcript=getattr(delivery.job, "transcript", None),
                base_url=settings.BASE_URL,
                inline_result=endpoint is None or endpoint.payload == Payload.FULL,
            )
        )
    signed = signing.sign(
        message_id=payloads.message_id(delivery.event_id),
        at=now,
        body=bytes(body),
        secrets=secrets.get_signing_secrets(delivery, now=now),
    )
    custom = secrets.decrypt_headers(endpoint.headers) if endpoint else {}
    return Message(
        url=endpoint.url if endpoint else delivery.url,
        headers={**custom, **signed},
        body=bytes(body),
    )


def record_attempt(
    claim: QuerySet[WebhookDelivery],
    delivery: WebhookDelivery,
    *,
    message: Message,
    tried: Tried,
    draw: float,
) -> None:
    """Log the attempt and move the delivery, unless a newer claim has it by now."""
    now, answer = tried.ended_at, tried.answer
    step = schedule.next_step(
        answer,
        attempts=delivery.attempts + 1,
        plan=schedule.Plan(
            delays=settings.WEBHOOK_SCHEDULE_SECONDS,
            throttled_seconds=settings.WEBHOOK_THROTTLED_SECONDS,
        ),
        draw=draw,
        now=now,
    )
    with transaction.atomic():
        if step.delay is None:
            moved = finish(claim, status=step.status, now=now, attempts=1)
        else:
            moved = claim.update(
                attempts=F("attempts") + 1,
                is_claimed=False,
                next_attempt_at=now + timedelta(seconds=step.delay),
                # Kept only while it has to be sent again: it holds the transcript.
                body=message.body,
            )
        if moved:
            _log(delivery, tried, excerpt=answer.excerpt)
        else:
            _log_late(delivery, tried)
        if moved and delivery.endpoint:
            _note(delivery.endpoint, answer=answer, disable=step.disable, now=now)
    logger.info(
        "webhook attempt",
        extra={
            "delivery_id": delivery.pk,
            "tenant_id": delivery.tenant_id,
            "status": step.status if moved else "stale",
            "answer": answer.status_code or answer.error,
        },
    )


def finish(
    claim: QuerySet[WebhookDelivery], *, status: str, now: datetime, attempts: int = 0
) -> int:
    """End a delivery; return 0 when the claim was lost."""
    return claim.update(
        status=status,
        attempts=F("attempts") + attempts,
        is_claimed=False,
        next_attempt_at=None,
        finished_at=now,
        body=None,
    )


def _log_late(delivery: WebhookDelivery, tried: Tried) -> None:
    """Log an attempt whose claim was lost; an erased job's answers are not kept.

    Whoever erases holds the delivery's row until that is committed.
    """
    rows = WebhookDelivery.objects.filter(pk=delivery.pk)
    if rows.select_for_update().first() is None:
        return
    erased = rows.filter(job__erased_at__isnull=False).exists()
    _log(delivery, tried, excerpt="" if erased else tried.answer.excerpt)


def _log(delivery: WebhookDelivery, tried: Tried, *, excerpt: str) -> None:
    attempt = DeliveryAttempt(
        delivery=delivery,
        claim_token=delivery.claim_token,
        started_at=tried.started_at,
        duration_ms=tried.answer.duration_ms,
        status_code=tried.answer.status_code,
        error=tried.answer.error,
        response_excerpt=excerpt,
    )
    # A message that the broker delivered twice was sent twice and is logged once.
    DeliveryAttempt.objects.bulk_create([attempt], ignore_conflicts=True)


def _note(
    endpoint: WebhookEndpoint, *, answer: Answer, disable: str, now: datetime
) -> None:
    """Keep the endpoint's record of failures, and switch it off when that is due."""
    rows = WebhookEndpoint.objects.filter(pk=endpoint.pk)
    if answer.is_success:
        if endpoint.failures:
            rows.update(failures=0, failing_since=None)
    else:
        rows.update(
            failures=F("failures") + 1,
            failing_since=Coalesce("failing_since", Value(now)),
        )
        if schedule.has_failed_too_long(
            failures=endpoint.failures + 1,
            failing_since=endpoint.failing_since,
            now=now,
        ):
            disable = disable or "failing"
    if disable:
        disable_endpoint(endpoint, reason=disable, now=now)


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
