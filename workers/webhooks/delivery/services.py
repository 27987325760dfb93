"""Make one attempt at each of some claimed deliveries.

Delivery is at least once, with a stable message id: after a worker is killed between
the POST and the commit, the message is sent again. ``dispatch`` decides when to
attempt, ``attempts`` records the results.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial, reduce
from operator import or_
from threading import Lock
from typing import Protocol
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Q, QuerySet

from jobs.models import CallbackStyle
from jobs.telemetry import log_context, tracing
from workers.webhooks.delivery import attempts, endpoint_health, retention, transport
from workers.webhooks.delivery.loading import (
    DeliveryClaim,
    LoadedDelivery,
    load_claimed,
)
from workers.webhooks.delivery.schedule import NextStep, PostResult, Status
from workers.webhooks.messages import callbacks, payloads, secrets, signing
from workers.webhooks.messages.custom_headers import merge_headers
from workers.webhooks.models import Trigger, WebhookDelivery, WebhookEndpoint

Payload = WebhookEndpoint.Payload

# Added to the request timeout for a claim's lease: time in the broker, and the commit.
CLAIM_MARGIN_SECONDS = 15.0

# The deliveries that this process has begun to attempt.
_begun: set[UUID] = set()
_lock = Lock()


class Post(Protocol):
    """Sends a message: ``transport.post`` outside tests."""

    def __call__(
        self, url: str, *, headers: Mapping[str, str], body: bytes, method: str
    ) -> PostResult:
        """Make one attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """One attempt's request, built without a database connection."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def claim_time() -> timedelta:
    """Return the lease of a claim: the request timeout and a margin."""
    return timedelta(seconds=settings.WEBHOOK_TIMEOUT_SECONDS + CLAIM_MARGIN_SECONDS)


def deliver(
    claims: Sequence[DeliveryClaim],
    *,
    clock: Callable[[], datetime],
    post: Post = transport.post,
    draw: Callable[[], float] = random.random,
) -> list[PostResult]:
    """Make the attempts of these claims at the same time; return their results.

    1. Load the deliveries under their claim tokens; skip stale claims.
    2. Extend the claims that waited long in the broker.
    3. Discard or hold the deliveries whose endpoint or job changed.
    4. Return the database connection. In a thread each: build and sign the message,
       POST it, record the attempt and schedule the next step.

    Returns when the last attempt is recorded. An error of one, such as a secret that
    cannot be decrypted, is raised then and affects no other.
    """
    started_at = clock()
    # A secret that signs several messages is decrypted once.
    decrypt = cache(secrets.decrypt)

    def attempt(loaded: LoadedDelivery) -> PostResult:
        delivery = loaded.delivery
        message = build_message(
            delivery, [decrypt(each) for each in loaded.secrets], now=started_at
        )
        with _traced(delivery) as span:
            result = _send(message, post, span)
            ended_at = clock()
            attempts.record_attempt(
                attempts.CompletedAttempt(
                    delivery=delivery,
                    body=message.body,
                    result=result,
                    step=attempts.choose_step(
                        delivery, result, draw=draw(), now=ended_at
                    ),
                    started_at=started_at,
                    ended_at=ended_at,
                )
            )
        return result

    with _marked_as_begun(claims):
        sendable = [
            loaded
            for loaded in load_claimed(claims, now=started_at)
            if _extend_claim(loaded.delivery, now=started_at)
            and _check_sendable(loaded.delivery, now=started_at)
        ]
        # A slow receiver must not occupy a database connection.
        if not connection.in_atomic_block:
            connection.close()
        return _run_at_once([partial(attempt, loaded) for loaded in sendable])


def return_unstarted(process: str, *, now: datetime) -> int:
    """Make due the claims that this process has not begun; return how many.

    Called when the process stops. Their messages are then stale.
    """
    with _lock:
        begun = set(_begun)
    claimed = WebhookDelivery.objects.filter(process=process, is_claimed=True)
    return claimed.exclude(pk__in=begun).update(
        is_claimed=False, process="", next_attempt_at=now
    )


def find_claimed(claims: Collection[DeliveryClaim]) -> QuerySet[WebhookDelivery]:
    """Return the deliveries whose claims are current."""
    by_token: dict[int, list[UUID]] = defaultdict(list)
    for claim in claims:
        by_token[claim.token].append(claim.delivery_id)
    any_claim = (Q(claim_token=token, pk__in=ids) for token, ids in by_token.items())
    return WebhookDelivery.objects.filter(reduce(or_, any_claim), is_claimed=True)


@contextmanager
def _marked_as_begun(claims: Sequence[DeliveryClaim]) -> Iterator[None]:
    ids = {claim.delivery_id for claim in claims}
    with _lock:
        _begun.update(ids)
    try:
        yield
    finally:
        with _lock:
            _begun.difference_update(ids)


def _run_at_once(attempts: Sequence[Callable[[], PostResult]]) -> list[PostResult]:
    """Run all at the same time, one of them here; raise the first error at the end."""
    if not attempts:
        return []
    *others, own = attempts
    futures = [_get_threads().submit(copy_context().run, each) for each in others]
    try:
        last = own()
    finally:
        wait(futures)
    return [*(future.result() for future in futures), last]


@cache
def _get_threads() -> ThreadPoolExecutor:
    """Return the process's threads; the dispatcher's claims limit how many work."""
    return ThreadPoolExecutor(transport.MAX_CONNECTIONS, thread_name_prefix="deliver")


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


def _find_same_claim(delivery: WebhookDelivery) -> QuerySet[WebhookDelivery]:
    return find_claimed(
        [DeliveryClaim(delivery_id=delivery.pk, token=delivery.claim_token)]
    )


def _extend_claim(delivery: WebhookDelivery, *, now: datetime) -> bool:
    """Extend a claim that waited long in the broker; False if it was lost."""
    ends_at = delivery.next_attempt_at
    if ends_at and (ends_at - now).total_seconds() >= settings.WEBHOOK_TIMEOUT_SECONDS:
        return True
    extended = _find_same_claim(delivery).update(next_attempt_at=now + claim_time())
    return extended > 0


def _check_sendable(delivery: WebhookDelivery, *, now: datetime) -> bool:
    """Erase, discard or hold a delivery that must not be sent now; return False then.

    The endpoint may have been disabled, or its circuit opened, after the claim.
    """
    if retention.erase_if_due(delivery, now=now):
        return False
    endpoint = delivery.endpoint
    if endpoint is None:
        return True
    if not endpoint.is_enabled:
        step = NextStep(status=Status.DISCARDED)
        _find_same_claim(delivery).update(
            **attempts.build_update(delivery, step, now=now)
        )
        return False
    if delivery.trigger == Trigger.SCHEDULED and endpoint.trial_wait_seconds:
        endpoint_health.hold_deliveries(
            _find_same_claim(delivery), endpoints=[endpoint.pk], now=now
        )
        return False
    return True


def build_message(
    delivery: WebhookDelivery, signing_secrets: Sequence[str], *, now: datetime
) -> OutgoingMessage:
    """Build the request: the same body at every attempt, with a new signature."""
    body, endpoint = delivery.body, delivery.endpoint
    if body is None:
        body = _build_body(delivery)
    signed = signing.sign(
        message_id=payloads.message_id(delivery.event_id),
        at=now,
        body=bytes(body),
        secrets=signing_secrets,
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
    return payloads.serialize(
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
