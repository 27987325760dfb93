"""The rows of batches: write one with its jobs, find it again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from jobs import services
from jobs.accounts import audit
from jobs.errors import NotFound
from jobs.models import ApiKey, Batch, BatchState, Job, Mode, Tenant
from jobs.services import JobDraft
from jobs.telemetry import metrics, tracing


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
        services.insert_jobs(jobs, api_key=batch.api_key, now=batch.created_at)
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


def get_batch(*, tenant: Tenant, batch_id: UUID) -> Batch:
    """Return a batch of this tenant, or raise NotFound."""
    batch = find_batches(tenant=tenant).filter(pk=batch_id).first()
    if batch is None:
        raise NotFound
    return batch


def find_batches(*, tenant: Tenant) -> QuerySet[Batch]:
    """Return the tenant's batches, but for those that came to nothing."""
    return Batch.objects.filter(tenant=tenant).exclude(state=BatchState.DROPPED)
