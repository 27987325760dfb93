"""Reads the timeline of a job for its page, with few bounded queries."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings

from jobs.api.jobs.serializers import strip_query
from jobs.models import Attempt, Event, Job
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery

MAX_ROWS = 100
_SHOWN_KEYS = (
    "reason",
    "cause",
    "region",
    "priority",
    "run_at",
    "retry_of",
    "delivery_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """One event of the job."""

    at: datetime
    type: str
    actor: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineCall:
    """One call to Deepgram, with its Celery task."""

    attempt: Attempt
    task_id: str
    task_url: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineDelivery:
    """One delivery and its attempts."""

    delivery: WebhookDelivery
    url: str
    attempts: list[DeliveryAttempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimeline:
    """The timeline, oldest first; at most ``MAX_ROWS`` of each kind."""

    job: Job
    events: list[TimelineEvent]
    moves: list[tuple[datetime, str]]
    calls: list[TimelineCall]
    deliveries: list[TimelineDelivery]
    is_truncated: bool


def gather(job: Job) -> JobTimeline:
    """Return the timeline of a job."""
    events = list(Event.objects.filter(job=job).order_by("pk")[: MAX_ROWS + 1])
    attempts = list(
        Attempt.objects.filter(job=job)
        .select_related("region")
        .order_by("pk")[:MAX_ROWS]
    )
    deliveries = _read_deliveries(job)
    return JobTimeline(
        job=job,
        events=[_build_event(event) for event in events[:MAX_ROWS]],
        moves=[
            (event.created_at, event.type.removeprefix("job."))
            for event in events[:MAX_ROWS]
            if event.data.get("reason") != "reprioritized"
        ],
        calls=[_build_call(job, attempt) for attempt in attempts],
        deliveries=deliveries,
        is_truncated=max(len(events) - 1, len(attempts), len(deliveries)) >= MAX_ROWS,
    )


def _build_event(event: Event) -> TimelineEvent:
    details = [
        f"{key}: {event.data[key]}" for key in _SHOWN_KEYS if event.data.get(key)
    ]
    error = event.data.get("error")
    if isinstance(error, dict):
        details.append(
            ": ".join(filter(None, (error.get("code"), error.get("detail"))))
        )
    return TimelineEvent(
        at=event.created_at,
        type=event.type,
        actor=event.actor,
        detail=" · ".join(details),
    )


def _build_call(job: Job, attempt: Attempt) -> TimelineCall:
    # The task id that jobs.scheduling.dispatch assigns.
    task_id = f"{job.pk}.{attempt.lease_token}"
    flower = settings.FLOWER_URL
    duration = attempt.finished_at and attempt.finished_at - attempt.started_at
    return TimelineCall(
        attempt=attempt,
        task_id=task_id,
        task_url=f"{flower}/task/{task_id}" if flower else "",
        seconds=duration.total_seconds() if duration else None,
    )


def _read_deliveries(job: Job) -> list[TimelineDelivery]:
    rows = WebhookDelivery.objects.filter(job=job).defer("body")
    rows = rows.select_related("endpoint", "event").order_by("pk")
    selected = list(rows[:MAX_ROWS])
    attempts: dict[Any, list[DeliveryAttempt]] = {}
    log = DeliveryAttempt.objects.filter(
        delivery__in=[delivery.pk for delivery in selected]
    )
    log = log.defer("response_excerpt").order_by("delivery", "claim_token")
    for attempt in log[: MAX_ROWS * 10]:
        attempts.setdefault(attempt.delivery_id, []).append(attempt)
    return [
        TimelineDelivery(
            delivery=delivery,
            url=_shown_url(delivery),
            attempts=attempts.get(delivery.pk, []),
        )
        for delivery in selected
    ]


def _shown_url(delivery: WebhookDelivery) -> str:
    """Return the target URL without its query string, which may be secret."""
    url = delivery.endpoint.url if delivery.endpoint else delivery.url
    return strip_query(url) if url else "(deleted)"
