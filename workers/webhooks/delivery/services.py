"""Make one attempt at a claimed delivery.

Delivery is at least once, with a stable message id: after a worker is killed between
the POST and the commit, the message is sent again when the claim expires. ``dispatch``
decides when to attempt, ``attempts`` records the result.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from jobs.models import CallbackStyle
from jobs.telemetry import log_context, tracing
from workers.webhooks.delivery import attempts, endpoint_health, retention, transport
from workers.webhooks.delivery.schedule import NextStep, PostResult, Status
from workers.webhooks.messages import callbacks, payloads, secrets, signing
from workers.webhooks.messages.custom_headers import merge_headers
from workers.webhooks.models import Trigger, WebhookDelivery, WebhookEndpoint

Payload = WebhookEndpoint.Payload

# Added to the request timeout for a claim's lease: time in the broker, and the commit.
CLAIM_MARGIN_SECONDS = 15.0


class Post(Protocol):
    """Sends a message: ``transport.post`` outside tests."""

    def __call__(
        self, url: str, *, headers: Mapping[str, str], body: bytes, method: str
    ) -> PostResult:
        """Make one attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """One attempt's request, built before the database connection is closed."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def claim_time() -> timedelta:
    """Return the lease of a claim: the request timeout and a margin."""
    return timedelta(seconds=settings.WEBHOOK_TIMEOUT_SECONDS + CLAIM_MARGIN_SECONDS)


def deliver(
    *,
    delivery_id: UUID,
    claim_token: int,
    clock: Callable[[], datetime],
    post: Post = transport.post,
    draw: Callable[[], float] = random.random,
) -> PostResult | None:
    """Make the attempt of this claim and record it.

    1. Load the delivery under its claim token; return None if the claim is stale.
    2. Extend the claim if the message waited long in the broker.
    3. Discard or hold the delivery if its endpoint or its job changed; return None.
    4. Build and sign the message; close the database connection.
    5. POST it, then record the attempt and schedule the next step.
    """
    started_at = clock()
    claim = WebhookDelivery.objects.filter(
        pk=delivery_id, claim_token=claim_token, is_claimed=True
    )
    found = claim.select_related("event__batch", "job__transcript", "endpoint")
    delivery = next(iter(found), None)
    if delivery is None or not _extend_claim(claim, delivery, now=started_at):
        return None
    if not _check_sendable(claim, delivery, now=started_at):
        return None
    message = build_message(delivery, now=started_at)
    # A slow receiver must not occupy a database connection.
    if not connection.in_atomic_block:
        connection.close()
    with _traced(delivery) as span:
        result = _send(message, post, span)
        attempt = attempts.CompletedAttempt(
            result=result, started_at=started_at, ended_at=clock()
        )
        attempts.record_attempt(
            claim, delivery, body=message.body, attempt=attempt, draw=draw()
        )
    return result


@contextmanager
def _traced(delivery: WebhookDelivery) -> Iterator[tracing.Span]:
    """Run in a span of the job's or the batch's trace."""
    job = delivery.job
    subject = job or delivery.event.batch
    context = {"delivery_id": delivery.pk, "tenant_id": delivery.tenant_id}
    with (
        log_context.adding(**context, **({"job_id": job.pk} if job else {})),
        tracing.joined(subject.traceparent if subject else ""),
        tracing.span(
            "webhook",
            kind=tracing.SpanRole.CLIENT,
            transcription__job_id=str(job.pk) if job else "",
            transcription__delivery_id=str(delivery.pk),
            transcription__event=delivery.event.type,
            transcription__attempt=delivery.attempts + 1,
        ) as span,
    ):
        yield span


def _send(message: OutgoingMessage, post: Post, span: tracing.Span) -> PostResult:
    """POST the message with the trace headers."""
    headers = {**message.headers, **tracing.headers_of(tracing.current())}
    result = post(
        message.url, headers=headers, body=message.body, method=message.method
    )
    span.set(http__response__status_code=result.status_code)
    if result.error:
        span.fail(result.error)
    return result


def _extend_claim(
    claim: QuerySet[WebhookDelivery], delivery: WebhookDelivery, *, now: datetime
) -> bool:
    """Extend a claim that waited long in the broker; False if it was lost."""
    ends_at = delivery.next_attempt_at
    if ends_at and (ends_at - now).total_seconds() >= settings.WEBHOOK_TIMEOUT_SECONDS:
        return True
    return claim.update(next_attempt_at=now + claim_time()) > 0


def _check_sendable(
    claim: QuerySet[WebhookDelivery], delivery: WebhookDelivery, *, now: datetime
) -> bool:
    """Erase, discard or hold a delivery that must not be sent now; return False then.

    The endpoint may have been disabled, or its circuit opened, after the claim.
    """
    if retention.erase_if_due(delivery, now=now):
        return False
    endpoint = delivery.endpoint
    if endpoint is None:
        return True
    if not endpoint.is_enabled:
        claim.update(
            **attempts.build_update(
                delivery, NextStep(status=Status.DISCARDED), now=now
            )
        )
        return False
    if delivery.trigger == Trigger.SCHEDULED and endpoint.trial_wait_seconds:
        endpoint_health.hold_deliveries(claim, endpoints=[endpoint.pk], now=now)
        return False
    return True


def build_message(delivery: WebhookDelivery, *, now: datetime) -> OutgoingMessage:
    """Build the request: the same body at every attempt, with a new signature."""
    body, endpoint = delivery.body, delivery.endpoint
    if body is None:
        body = _build_body(delivery)
    signed = signing.sign(
        message_id=payloads.message_id(delivery.event_id),
        at=now,
        body=bytes(body),
        secrets=secrets.get_signing_secrets(delivery, now=now),
    )
    custom = secrets.decrypt_headers(endpoint.headers) if endpoint else {}
    is_put = endpoint is None and _style_of(delivery) == CallbackStyle.DEEPGRAM_PUT
    return OutgoingMessage(
        method="PUT" if is_put else "POST",
        url=endpoint.url if endpoint else delivery.url,
        headers=merge_headers(custom, signed),
        body=bytes(body),
    )


def _build_body(delivery: WebhookDelivery) -> bytes:
    job, endpoint = delivery.job, delivery.endpoint
    transcript = getattr(job, "transcript", None)
    if job and endpoint is None and _style_of(delivery) != CallbackStyle.WEBHOOK:
        return callbacks.build_callback(job, transcript)
    return payloads.serialise(
        payloads.build_body(
            event=delivery.event,
            job=job,
            transcript=transcript,
            base_url=settings.BASE_URL,
            inline_result=endpoint is None or endpoint.payload == Payload.FULL,
        )
    )


def _style_of(delivery: WebhookDelivery) -> str:
    return delivery.job.callback_style if delivery.job else CallbackStyle.WEBHOOK
