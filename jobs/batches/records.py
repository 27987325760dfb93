"""Save and query batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from jobs import services
from jobs.accounts import audit
from jobs.batches import statistics
from jobs.batches.statistics import BatchStatus
from jobs.errors import NotFound
from jobs.models import ApiKey, Batch, BatchState, Job, Mode, Tenant
from jobs.queries import filter_metadata
from jobs.services import JobDraft
from jobs.telemetry import metrics, tracing


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFilter:
    """Filters of a list of batches; empty fields do not restrict."""

    status: BatchStatus | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDraft:
    """The checked input of a batch that is not saved yet."""

    jobs: Sequence[JobDraft] = ()
    metadata: dict[str, Any]
    callback_url: str = ""
    expires_at: datetime | None = None


def write_batch(batch: Batch, jobs: Sequence[Job]) -> Batch:
    """Save a batch and its jobs in one transaction."""
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
    """Build an unsaved batch from a draft; ``total`` is not set."""
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
    """Audit the submission and count the jobs in the metrics."""
    submitted = metrics.SUBMITTED.labels(Mode.ASYNC)
    transaction.on_commit(partial(submitted.inc, batch.total))
    data: dict[str, Any] = (
        {"retry_of": str(batch.retry_of_id)} if batch.retry_of_id else {}
    )
    audit.record(
        type="batch.submitted",
        actor=audit.get_actor(batch.api_key),
        at=batch.created_at,
        tenant=batch.tenant,
        batch_id=str(batch.pk),
        total=batch.total,
        **data,
    )


def get_batch(*, tenant: Tenant, batch_id: UUID) -> Batch:
    """Return a batch of this tenant; raise NotFound if there is none."""
    batch = find_batches(tenant=tenant).filter(pk=batch_id).first()
    if batch is None:
        raise NotFound
    return batch


def find_batches(
    *, tenant: Tenant, filters: BatchFilter | None = None
) -> QuerySet[Batch]:
    """Return the tenant's batches that match, except dropped ones."""
    found = Batch.objects.filter(tenant=tenant).exclude(state=BatchState.DROPPED)
    if filters is None:
        return found
    if filters.status:
        found = found.filter(statistics.filter_status(filters.status))
    if filters.created_after:
        found = found.filter(created_at__gte=filters.created_after)
    if filters.created_before:
        found = found.filter(created_at__lt=filters.created_before)
    return filter_metadata(found, filters.metadata)
