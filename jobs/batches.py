"""Batches: jobs submitted together, counted as they end, told of as one.

Counting is the fan-out's (``count_ended``): an event is counted in the commit that
marks it as fanned out, so each once, and the batch closes in the very UPDATE that
counts its last job.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet, Sum

from jobs import audit, metrics, services, tracing
from jobs.errors import Fault, ManyFaults, NotFound
from jobs.models import (
    ApiKey,
    Attempt,
    Batch,
    BatchState,
    Event,
    Job,
    Mode,
    Tenant,
)
from jobs.services import JobDraft
from jobs.state import FINAL

# The shares of its jobs, in percent, at which somebody is told.
MILESTONES = (25, 50, 75)
MAX_FAULTS = 100
# How far apart the two looks are that the pace is told by, at least.
PACE_WINDOW = timedelta(minutes=1)
# Without a job ending for so long there is no pace that one could count on.
PACE_STALE = timedelta(minutes=5)

# The last job's count and the end are one statement: two workers cannot both end it.
_COUNT = """
UPDATE jobs_batch SET
  completed = completed + %(completed)s, failed = failed + %(failed)s,
  canceled = canceled + %(canceled)s, expired = expired + %(expired)s,
  audio_seconds = audio_seconds + %(audio_seconds)s,
  cost_estimate = cost_estimate + %(cost)s,
  pace_from = CASE WHEN pace_at IS NULL THEN %(now)s
    WHEN pace_at < %(minute_ago)s THEN pace_at ELSE pace_from END,
  pace_from_done = CASE
    WHEN pace_at IS NULL THEN completed + failed + canceled + expired + %(ended)s
    WHEN pace_at < %(minute_ago)s THEN pace_at_done ELSE pace_from_done END,
  pace_at = CASE WHEN pace_at IS NULL OR pace_at < %(minute_ago)s
    THEN %(now)s ELSE pace_at END,
  pace_at_done = CASE WHEN pace_at IS NULL OR pace_at < %(minute_ago)s
    THEN completed + failed + canceled + expired + %(ended)s ELSE pace_at_done END,
  finished_at = CASE
    WHEN completed + failed + canceled + expired + %(ended)s = total THEN %(now)s END
WHERE id = %(batch)s RETURNING *
"""


class Status(StrEnum):
    """What customers are told a batch does."""

    PREPARING = "preparing"
    PROCESSING = "processing"
    PAUSED = "paused"
    CANCELING = "canceling"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDraft:
    """A batch as a customer asked for it, checked and not yet written."""

    jobs: Sequence[JobDraft] = ()
    metadata: dict[str, Any]
    callback_url: str = ""
    expires_at: datetime | None = None


def submit_batch(
    *, tenant: Tenant, api_key: ApiKey | None, draft: BatchDraft, now: datetime
) -> Batch:
    """Write the batch and the jobs of its drafts at once."""
    jobs = [
        services.build_job(tenant=tenant, api_key=api_key, draft=each, now=now)
        for each in draft.jobs
    ]
    batch = build_batch(tenant=tenant, api_key=api_key, draft=draft, now=now)
    return write_batch(batch, jobs)


def write_batch(batch: Batch, jobs: Sequence[Job]) -> Batch:
    """Write a batch and all its jobs in one transaction."""
    batch.total = len(jobs)
    for job in jobs:
        job.batch = batch
    with transaction.atomic():
        batch.save(force_insert=True)
        services.write_jobs(jobs, api_key=batch.api_key, now=batch.created_at)
        record_submit(batch)
    return batch


def build_batch(
    *, tenant: Tenant, api_key: ApiKey | None, draft: BatchDraft, now: datetime
) -> Batch:
    """Return the batch of a draft, not yet written and without its total."""
    return Batch(
        tenant=tenant,
        api_key=api_key,
        metadata=draft.metadata,
        callback_url=draft.callback_url,
        expires_at=draft.expires_at,
        traceparent=tracing.current_traceparent(),
        created_at=now,
    )


def record_submit(batch: Batch) -> None:
    """Write into the audit who submitted the batch, and count its jobs."""
    submitted = metrics.SUBMITTED.labels(Mode.ASYNC)
    transaction.on_commit(partial(submitted.inc, batch.total))
    of: dict[str, Any] = (
        {"retry_of": str(batch.retry_of_id)} if batch.retry_of_id else {}
    )
    audit.record(
        type="batch.submitted",
        actor=audit.actor_of(batch.api_key),
        at=batch.created_at,
        tenant=batch.tenant,
        batch_id=str(batch.pk),
        total=batch.total,
        **of,
    )


def check_faults(faults: Sequence[Fault]) -> None:
    """Raise ManyFaults if anything is wrong; the first hundred are told."""
    if faults:
        raise ManyFaults(faults[:MAX_FAULTS], count=len(faults))


def get_batch(*, tenant: Tenant, batch_id: UUID) -> Batch:
    """Return a batch of this tenant, or raise NotFound."""
    batch = find_batches(tenant=tenant).filter(pk=batch_id).first()
    if batch is None:
        raise NotFound
    return batch


def find_batches(*, tenant: Tenant) -> QuerySet[Batch]:
    """Return the tenant's batches, but for those that came to nothing."""
    return Batch.objects.filter(tenant=tenant).exclude(state=BatchState.DROPPED)


def count_ended(events: Iterable[Event], *, now: datetime) -> None:
    """Count the jobs that these events say have ended; tell of what that makes true.

    To be called in the transaction that marks the events: then each is counted once.
    """
    ended: dict[UUID, Counter[str]] = defaultdict(Counter)
    jobs: list[UUID] = []
    for event in events:
        status = event.type.removeprefix("job.")
        if event.job and event.job.batch_id and status in FINAL:
            ended[event.job.batch_id][status] += 1
            jobs.append(event.job.pk)
    spent = _sum_calls(jobs) if jobs else {}
    # In one order everywhere, or two dispatchers could wait for each other.
    for batch_id in sorted(ended):
        counts = {str(status): ended[batch_id][status] for status in FINAL}
        audio_seconds, cost = spent.get(batch_id, (0, 0))
        values = {
            **counts,
            "ended": ended[batch_id].total(),
            "audio_seconds": audio_seconds or 0,
            "cost": cost or 0,
            "batch": batch_id,
            "now": now,
            "minute_ago": now - PACE_WINDOW,
        }
        for batch in Batch.objects.raw(_COUNT, values):
            _tell(batch, at=now)


def _sum_calls(jobs: Collection[UUID]) -> dict[UUID, tuple[float, Decimal]]:
    """Return the audio that was transcribed and what all calls cost, by batch."""
    ok = Q(outcome=Attempt.Outcome.OK)
    calls = Attempt.objects.filter(job__in=jobs).values("job__batch_id")
    sums = calls.annotate(
        audio=Sum("audio_seconds", filter=ok), cost=Sum("cost_estimate")
    )
    return {each["job__batch_id"]: (each["audio"], each["cost"]) for each in sums}


def _tell(batch: Batch, *, at: datetime) -> None:
    """Write the event that the counters are due, if any."""
    reached = max(
        (each for each in MILESTONES if batch.done * 100 >= each * batch.total),
        default=0,
    )
    if batch.finished_at:
        kind = "batch.completed"
    elif reached > batch.told_percent:
        kind = "batch.progress"
        Batch.objects.filter(pk=batch.pk).update(told_percent=reached)
        batch.told_percent = reached
    else:
        return
    Event.objects.create(
        tenant_id=batch.tenant_id,
        batch=batch,
        type=kind,
        data=describe(batch),
        created_at=at,
    )


def describe(batch: Batch) -> dict[str, Any]:
    """Return the batch as customers are told of it, JSON-ready but for its times."""
    return {
        "id": str(batch.pk),
        "object": "batch",
        "status": status_of(batch),
        "counts": counts_of(batch),
        "percent": percent_of(batch),
        "skipped": batch.skipped,
        "audio_seconds_done": batch.audio_seconds,
        "cost_estimate": f"{batch.cost_estimate:.6f}",
        "metadata": batch.metadata,
        "retry_of": str(batch.retry_of_id) if batch.retry_of_id else None,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        "finished_at": batch.finished_at,
    }


def status_of(batch: Batch) -> "Status":
    """Return what it does, or ``completed`` once its last job has ended."""
    if batch.finished_at:
        return Status.COMPLETED
    if batch.cancel_requested_at:
        return Status.CANCELING
    if batch.state == BatchState.PREPARING:
        return Status.PREPARING
    return Status.PAUSED if batch.is_paused else Status.PROCESSING


def percent_of(batch: Batch) -> int:
    """Return how many in a hundred of its jobs have ended."""
    return batch.done * 100 // batch.total


def audio_seconds_ahead(batch: Batch) -> float | None:
    """Return how much audio is left, by the length of what is done; None at first."""
    left = batch.total - batch.done
    if not left:
        return 0.0
    return batch.audio_seconds / batch.completed * left if batch.completed else None


def eta_seconds(batch: Batch, *, now: datetime) -> float | None:
    """Return when its last job ends, at the pace of late; None where there is none."""
    is_moving = status_of(batch) in {Status.PROCESSING, Status.CANCELING}
    if not is_moving or not batch.pace_from or not batch.pace_at:
        return None
    done = batch.done - batch.pace_from_done
    if done <= 0 or now - batch.pace_at > PACE_STALE:
        return None
    took = max(1.0, (now - batch.pace_from).total_seconds())
    return (batch.total - batch.done) * took / done


def counts_of(batch: Batch) -> dict[str, int]:
    """Return how many jobs it has and how they ended so far."""
    ended = {str(status): getattr(batch, status) for status in sorted(FINAL)}
    return {"total": batch.total, "open": batch.total - batch.done, **ended}
