"""Tell customers: one attempt at one delivery.

At least once, with a stable id: a worker killed after the POST and before the commit
sends again when its claim runs out. When to attempt, and how many at once, is
``dispatch``'s business; what follows from an attempt, ``attempts``'.
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
from workers.webhooks.delivery import attempts, circuits, erasure, transport
from workers.webhooks.delivery.schedule import NextStep, PostResult, Status
from workers.webhooks.messages import callbacks, payloads, secrets, signing
from workers.webhooks.messages.custom_headers import merge_headers
from workers.webhooks.models import Trigger, WebhookDelivery, WebhookEndpoint

Payload = WebhookEndpoint.Payload

# A claim outlives the attempt by this much: the way through the broker, the commit.
CLAIM_MARGIN_SECONDS = 15.0


class Post(Protocol):
    """Whatever sends the message: ``transport.post``."""

    def __call__(
        self, url: str, *, headers: Mapping[str, str], body: bytes, method: str
    ) -> PostResult:
        """Make one attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """One attempt's request, built before the connection is given back."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def claim_time() -> timedelta:
    """Return how long a claim lives: one whole attempt and the way to it."""
    return timedelta(seconds=settings.WEBHOOK_TIMEOUT_SECONDS + CLAIM_MARGIN_SECONDS)


def deliver(
    *,
    delivery_id: UUID,
    claim_token: int,
    clock: Callable[[], datetime],
    post: Post = transport.post,
    draw: Callable[[], float] = random.random,
) -> PostResult | None:
    """Make the one attempt of this claim and record what follows from it.

    Returns None without sending when the claim is stale or the message is not wanted
    any more. Holds no database connection while it sends.
    """
    started_at = clock()
    claim = WebhookDelivery.objects.filter(
        pk=delivery_id, claim_token=claim_token, is_claimed=True
    )
    found = claim.select_related("event__batch", "job__transcript", "endpoint")
    delivery = next(iter(found), None)
    if delivery is None or not _holds_long_enough(claim, delivery, now=started_at):
        return None
    if not _is_wanted(claim, delivery, now=started_at):
        return None
    message = build_message(delivery, now=started_at)
    # A slow receiver must not keep a connection from the others.
    if not connection.in_atomic_block:
        connection.close()
    with _traced(delivery) as span:
        answer = _send(message, post, span)
        tried = attempts.CompletedAttempt(
            answer=answer, started_at=started_at, ended_at=clock()
        )
        attempts.record_attempt(
            claim, delivery, body=message.body, tried=tried, draw=draw()
        )
    return answer


@contextmanager
def _traced(delivery: WebhookDelivery) -> Iterator[tracing.Span]:
    """Work for the trace of what the message is about."""
    job = delivery.job
    subject = job or delivery.event.batch
    of = {"delivery_id": delivery.pk, "tenant_id": delivery.tenant_id}
    with (
        log_context.adding(**of, **({"job_id": job.pk} if job else {})),
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
    """Post it; a receiver is told of the trace as anybody downstream is."""
    headers = {**message.headers, **tracing.headers_of(tracing.current())}
    answer = post(
        message.url, headers=headers, body=message.body, method=message.method
    )
    span.set(http__response__status_code=answer.status_code)
    if answer.error:
        span.fail(answer.error)
    return answer


def _holds_long_enough(
    claim: QuerySet[WebhookDelivery], delivery: WebhookDelivery, *, now: datetime
) -> bool:
    """Extend a claim that waited long in the broker; false if it was lost meanwhile."""
    ends_at = delivery.next_attempt_at
    if ends_at and (ends_at - now).total_seconds() >= settings.WEBHOOK_TIMEOUT_SECONDS:
        return True
    return claim.update(next_attempt_at=now + claim_time()) > 0


def _is_wanted(
    claim: QuerySet[WebhookDelivery], delivery: WebhookDelivery, *, now: datetime
) -> bool:
    """Discard what goes to an endpoint switched off; hold back what goes to a deaf one.

    Its circuit may have opened while the message was in the broker.
    """
    if erasure.erase_if_due(delivery, now=now):
        return False
    endpoint = delivery.endpoint
    if endpoint is None:
        return True
    if not endpoint.is_enabled:
        claim.update(
            **attempts.settle(delivery, NextStep(status=Status.DISCARDED), now=now)
        )
        return False
    if delivery.trigger == Trigger.SCHEDULED and endpoint.trial_wait_seconds:
        circuits.hold(claim, endpoints=[endpoint.pk], now=now)
        return False
    return True


def build_message(delivery: WebhookDelivery, *, now: datetime) -> OutgoingMessage:
    """Build the request of one attempt: the same bytes each time, signed anew."""
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
