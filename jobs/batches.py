"""Batches: jobs submitted together, counted as they end, told of as one.

Counting is the fan-out's (``count_ended``): an event is counted in the commit that
marks it as fanned out, so each once, and the batch closes in the very UPDATE that
counts its last job.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from jobs import audit, services
from jobs.errors import Fault, ManyFaults, NotFound
from jobs.models import ApiKey, Batch, BatchState, Event, Job, Tenant
from jobs.services import JobDraft
from jobs.state import FINAL

# The shares of its jobs, in percent, at which somebody is told.
MILESTONES = (25, 50, 75)
MAX_FAULTS = 100

# The last job's count and the end are one statement: two workers cannot both end it.
_COUNT = """
UPDATE jobs_batch SET
  completed = completed + %(completed)s, failed = failed + %(failed)s,
  canceled = canceled + %(canceled)s, expired = expired + %(expired)s,
  finished_at = CASE
    WHEN completed + failed + canceled + expired + %(ended)s = total THEN %(now)s END
WHERE id = %(batch)s RETURNING *
"""


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
        created_at=now,
    )


def record_submit(batch: Batch) -> None:
    """Write into the audit who submitted the batch."""
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
    for event in events:
        status = event.type.removeprefix("job.")
        if event.job and event.job.batch_id and status in FINAL:
            ended[event.job.batch_id][status] += 1
    # In one order everywhere, or two dispatchers could wait for each other.
    for batch_id in sorted(ended):
        counts = {str(status): ended[batch_id][status] for status in FINAL}
        total = ended[batch_id].total()
        values = {**counts, "ended": total, "batch": batch_id, "now": now}
        for batch in Batch.objects.raw(_COUNT, values):
            _tell(batch, at=now)


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
        "percent": batch.done * 100 // batch.total,
        "metadata": batch.metadata,
        "created_at": batch.created_at,
        "finished_at": batch.finished_at,
    }


def status_of(batch: Batch) -> str:
    """Return ``processing`` until its last job has ended, then ``completed``."""
    return "completed" if batch.finished_at else "processing"


def counts_of(batch: Batch) -> dict[str, int]:
    """Return how many jobs it has and how they ended so far."""
    ended = {str(status): getattr(batch, status) for status in sorted(FINAL)}
    return {"total": batch.total, "open": batch.total - batch.done, **ended}
