"""Batches: jobs submitted together, counted as they end, told of as one.

Counting is the fan-out's (``count_ended``): an event is counted in the commit that
marks it as fanned out, so each once, and the batch closes in the very UPDATE that
counts its last job.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import transaction

from jobs import audit, options, regions, services
from jobs.errors import Fault, InvalidRequest, ManyFaults, NotFound
from jobs.faults import faults_of
from jobs.models import ApiKey, Batch, Event, Job, Tenant
from jobs.services import JobDraft
from jobs.state import FINAL

# The shares of its jobs, in percent, at which somebody is told.
MILESTONES = (25, 50, 75)
_MAX_FAULTS = 100

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
    """A batch as a customer asked for it, each job checked on its own."""

    jobs: Sequence[JobDraft]
    metadata: dict[str, Any]
    callback_url: str = ""


def submit_batch(
    *, tenant: Tenant, api_key: ApiKey | None, draft: BatchDraft, now: datetime
) -> Batch:
    """Write the batch and all its jobs, or raise ManyFaults and write nothing."""
    jobs = _build_jobs(tenant=tenant, api_key=api_key, drafts=draft.jobs, now=now)
    with transaction.atomic():
        batch = Batch.objects.create(
            tenant=tenant,
            api_key=api_key,
            metadata=draft.metadata,
            callback_url=draft.callback_url,
            total=len(jobs),
            created_at=now,
        )
        for job in jobs:
            job.batch = batch
        services.write_jobs(jobs, api_key=api_key, now=now)
        audit.record(
            type="batch.submitted",
            actor=audit.actor_of(api_key),
            at=now,
            tenant=tenant,
            batch_id=str(batch.pk),
            total=batch.total,
        )
    return batch


def _build_jobs(
    *, tenant: Tenant, api_key: ApiKey | None, drafts: Sequence[JobDraft], now: datetime
) -> list[Job]:
    known = cache(regions.read_pools)  # once for all of them
    jobs, faults = [], []
    for index, draft in enumerate(drafts):
        try:
            options.check_combination(services.build_options(tenant, draft.options))
            jobs.append(
                services.build_job(
                    tenant=tenant, api_key=api_key, draft=draft, now=now, known=known
                )
            )
        except InvalidRequest as error:
            faults += faults_of(error, "items", index)
    check_faults(faults)
    return jobs


def check_faults(faults: Sequence[Fault]) -> None:
    """Raise ManyFaults if anything is wrong; the first hundred are told."""
    if faults:
        raise ManyFaults(faults[:_MAX_FAULTS])


def get_batch(*, tenant: Tenant, batch_id: UUID) -> Batch:
    """Return a batch of this tenant, or raise NotFound."""
    batch = Batch.objects.filter(tenant=tenant, pk=batch_id).first()
    if batch is None:
        raise NotFound
    return batch


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
