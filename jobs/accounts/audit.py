"""Who did what: one event row for each change that somebody made.

A job's own moves are written by ``jobs.services.advance``. Nobody outside is told of
what is recorded here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model, Q, QuerySet

from jobs.models import ApiKey, Event, Job, Tenant

# Actors that are no key: the command line and the platform itself.
COMMAND = "manage.py"
PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted; what is empty does not restrict."""

    type: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None


def record(
    *,
    type: str,  # noqa: A002  the column's name
    actor: str,
    at: datetime,
    tenant: Tenant | None = None,
    job: Job | None = None,
    **data: Any,
) -> Event:
    """Write the event; without a tenant it concerns the operator alone."""
    return Event.objects.create(
        tenant=tenant,
        job=job,
        type=type,
        data=data,
        actor=actor,
        created_at=at,
        fanned_out_at=at,
    )


def find_events(*, tenant: Tenant, wanted: EventFilter) -> QuerySet[Event]:
    """Return what was done to the tenant, and by whom.

    Without the submitting of jobs, which the jobs themselves show, and without what the
    platform did by itself.
    """
    conditions = Q()
    if wanted.type:
        conditions &= Q(type=wanted.type)
    if wanted.created_after:
        conditions &= Q(created_at__gte=wanted.created_after)
    if wanted.created_before:
        conditions &= Q(created_at__lt=wanted.created_before)
    # In the words of the index event_audit.
    done = ~Q(actor="") & ~Q(type="job.queued")
    return Event.objects.filter(done, conditions, tenant=tenant)


def find_changes(row: Model, wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return old and new value of each field that is to be another."""
    return {
        name: (getattr(row, name), value)
        for name, value in wanted.items()
        if getattr(row, name) != value
    }


def actor_of(api_key: ApiKey | None) -> str:
    """Return how a key is named as an actor; "" where no key was used."""
    return f"key:{api_key.public_id}" if api_key else ""
