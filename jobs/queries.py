"""Read a tenant's jobs: one by id, or a page of them. Nothing here writes.

Every queryset starts from the tenant, so a foreign id is simply not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import F, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast

from jobs.errors import NotFound
from jobs.models import Attempt, Batch, BatchState, Job, Tenant

_TEXT = TextField()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which of a tenant's jobs are wanted; what is empty does not restrict."""

    status: str = ""
    batch_id: UUID | None = None
    priority: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    # Values as text, which is how a query string has them.
    metadata: Mapping[str, str] = field(default_factory=dict)


class MetadataText(Func):
    """A value of a job's metadata as text, by its name.

    ``->>`` with a text: Django's own transform takes a name of digits for the index of
    an array, and fails for one that no integer holds.
    """

    template = "(%(expressions)s)"
    arg_joiner = " ->> "

    def __init__(self, name: str) -> None:
        text = Value(name, output_field=TextField())
        super().__init__(F("metadata"), Cast(text, TextField()), output_field=_TEXT)


def get_job(*, tenant: Tenant, job_id: UUID) -> Job:
    """Return a job of this tenant, or raise NotFound."""
    job = visible(Job.objects.filter(tenant=tenant, pk=job_id)).first()
    if job is None:
        raise NotFound
    return job


def find_job_of_active_tenant(job_id: UUID) -> Job | None:
    """Return the job for a caller without a key, whose right to it was checked."""
    jobs = visible(Job.objects.select_related("tenant"))
    return jobs.filter(pk=job_id, tenant__is_active=True).first()


def find_jobs(*, tenant: Tenant, wanted: JobFilter) -> QuerySet[Job]:
    """Return the tenant's jobs that are wanted."""
    jobs = visible(Job.objects.filter(_conditions(wanted), tenant=tenant))
    for number, (key, value) in enumerate(wanted.metadata.items()):
        name = f"metadata_{number}"
        jobs = jobs.alias(**{name: MetadataText(key)})
        jobs = jobs.filter(**{name: value})
    return jobs


def visible(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """Leave out the jobs of batches that are not all written yet."""
    hidden = Batch.objects.exclude(state=BatchState.OPEN)
    return jobs.exclude(batch__in=hidden)


def list_attempts(job: Job) -> list[Attempt]:
    """Return the job's upstream calls, oldest first."""
    return list(job.attempts.order_by("pk"))


def _conditions(wanted: JobFilter) -> Q:
    conditions = Q()
    if wanted.status:
        conditions &= Q(status=wanted.status)
    if wanted.batch_id:
        conditions &= Q(batch_id=wanted.batch_id)
    if wanted.priority is not None:
        conditions &= Q(priority=wanted.priority)
    if wanted.created_after:
        conditions &= Q(created_at__gte=wanted.created_after)
    if wanted.created_before:
        conditions &= Q(created_at__lt=wanted.created_before)
    return conditions
