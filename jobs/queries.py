"""Queries for a tenant's jobs. Nothing here writes.

Every queryset filters by tenant, so another tenant's job is not found.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import F, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast

from jobs.errors import NotFound
from jobs.models import Attempt, Batch, BatchState, Job, Tenant

_TEXT = TextField()
_Row = TypeVar("_Row", Job, Batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Filters of a job list; empty fields do not restrict."""

    status: str = ""
    batch_id: UUID | None = None
    custom_id: str = ""
    mode: str = ""
    region: str = ""
    error_code: str = ""
    priority: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    # Values are text, as in a query string.
    metadata: Mapping[str, str] = field(default_factory=dict)


class MetadataText(Func):
    """A value of a row's metadata as text, by its name.

    Uses ``->>`` with text: Django's key transform treats a numeric name as an array
    index and fails if it exceeds an integer.
    """

    template = "(%(expressions)s)"
    arg_joiner = " ->> "

    def __init__(self, name: str) -> None:
        text = Value(name, output_field=TextField())
        super().__init__(F("metadata"), Cast(text, TextField()), output_field=_TEXT)


def get_job(*, tenant: Tenant, job_id: UUID) -> Job:
    """Return a job of this tenant; raise NotFound if there is none."""
    job = visible(Job.objects.filter(tenant=tenant, pk=job_id)).first()
    if job is None:
        raise NotFound
    return job


def find_job_of_active_tenant(job_id: UUID) -> Job | None:
    """Return a job without a tenant check; the caller has authorized the access."""
    jobs = visible(Job.objects.select_related("tenant"))
    return jobs.filter(pk=job_id, tenant__is_active=True).first()


def find_jobs(*, tenant: Tenant, filters: JobFilter) -> QuerySet[Job]:
    """Return the tenant's jobs that match the filters."""
    jobs = visible(Job.objects.filter(_build_conditions(filters), tenant=tenant))
    return filter_metadata(jobs, filters.metadata)


def filter_metadata(
    rows: QuerySet[_Row], metadata: Mapping[str, str]
) -> QuerySet[_Row]:
    """Return the rows with all these values in their metadata, as text."""
    for number, (key, value) in enumerate(metadata.items()):
        name = f"metadata_{number}"
        rows = rows.alias(**{name: MetadataText(key)}).filter(**{name: value})
    return rows


def visible(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Exclude the jobs of batches that are not completely written yet."""
    hidden = Batch.objects.exclude(state=BatchState.OPEN)
    return jobs.exclude(batch__in=hidden)


def list_attempts(job: Job) -> list[Attempt]:
    """Return the job's upstream calls, oldest first."""
    return list(job.attempts.order_by("pk"))


def _build_conditions(filters: JobFilter) -> Q:
    equal = {
        "status": filters.status,
        "batch_id": filters.batch_id,
        "custom_id": filters.custom_id,
        "mode": filters.mode,
        "region_id": filters.region,
        "error_code": filters.error_code,
    }
    conditions = Q(**{name: value for name, value in equal.items() if value})
    if filters.priority is not None:
        conditions &= Q(priority=filters.priority)
    if filters.created_after:
        conditions &= Q(created_at__gte=filters.created_after)
    if filters.created_before:
        conditions &= Q(created_at__lt=filters.created_before)
    return conditions
