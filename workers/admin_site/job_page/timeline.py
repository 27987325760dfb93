"""Gather what happened to a job, for its page: a few bounded queries by index."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings

from jobs.api.jobs.serializers import without_query
from jobs.models import Attempt, Event, Job
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery

MOST = 100
_TOLD = ("reason", "cause", "region", "priority", "run_at", "retry_of", "delivery_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEvent:
    """One event, as a line."""

    at: datetime
    type: str
    actor: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineCall:
    """One upstream call, with what leads to it elsewhere."""

    attempt: Attempt
    task_id: str
    task_url: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineDelivery:
    """One delivery and its tries."""

    delivery: WebhookDelivery
    to: str
    tries: list[DeliveryAttempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimeline:
    """All of it, oldest first; of each kind the first hundred."""

    job: Job
    events: list[TimelineEvent]
    moves: list[tuple[datetime, str]]
    calls: list[TimelineCall]
    deliveries: list[TimelineDelivery]
    is_cut: bool


def gather(job: Job) -> JobTimeline:
    """Read the rows."""
    events = list(Event.objects.filter(job=job).order_by("pk")[: MOST + 1])
    attempts = list(
        Attempt.objects.filter(job=job).select_related("region").order_by("pk")[:MOST]
    )
    deliveries = _deliveries(job)
    return JobTimeline(
        job=job,
        events=[_happened(event) for event in events[:MOST]],
        moves=[
            (event.created_at, event.type.removeprefix("job."))
            for event in events[:MOST]
            if event.data.get("reason") != "reprioritized"
        ],
        calls=[_call(job, attempt) for attempt in attempts],
        deliveries=deliveries,
        is_cut=max(len(events) - 1, len(attempts), len(deliveries)) >= MOST,
    )


def _happened(event: Event) -> TimelineEvent:
    about = [f"{key}: {event.data[key]}" for key in _TOLD if event.data.get(key)]
    error = event.data.get("error")
    if isinstance(error, dict):
        about.append(": ".join(filter(None, (error.get("code"), error.get("detail")))))
    return TimelineEvent(
        at=event.created_at, type=event.type, actor=event.actor, about=" · ".join(about)
    )


def _call(job: Job, attempt: Attempt) -> TimelineCall:
    # What jobs.scheduling.dispatch names the task that a claim is sent as.
    task_id = f"{job.pk}.{attempt.lease_token}"
    flower = settings.FLOWER_URL
    took = attempt.finished_at and attempt.finished_at - attempt.started_at
    return TimelineCall(
        attempt=attempt,
        task_id=task_id,
        task_url=f"{flower}/task/{task_id}" if flower else "",
        seconds=took.total_seconds() if took else None,
    )


def _deliveries(job: Job) -> list[TimelineDelivery]:
    rows = WebhookDelivery.objects.filter(job=job).defer("body")
    rows = rows.select_related("endpoint", "event").order_by("pk")
    found = list(rows[:MOST])
    tries: dict[Any, list[DeliveryAttempt]] = {}
    log = DeliveryAttempt.objects.filter(delivery__in=[each.pk for each in found])
    log = log.defer("response_excerpt").order_by("delivery", "claim_token")
    for each in log[: MOST * 10]:
        tries.setdefault(each.delivery_id, []).append(each)
    return [
        TimelineDelivery(delivery=each, to=_address(each), tries=tries.get(each.pk, []))
        for each in found
    ]


def _address(delivery: WebhookDelivery) -> str:
    """Return where it goes, without the query string, which may be a secret."""
    url = delivery.endpoint.url if delivery.endpoint else delivery.url
    return without_query(url) if url else "(deleted)"
