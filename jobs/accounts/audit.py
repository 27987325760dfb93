"""The audit log: one event row per change, with its actor.

``jobs.services.advance`` writes the transitions of jobs. Events recorded here are not
sent to webhooks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Model, Q, QuerySet

from jobs.models import ApiKey, Event, Job, Tenant

# Actors other than API keys: the command line and the platform itself.
COMMAND = "manage.py"
PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Filters of the audit log; empty fields do not restrict."""

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
    """Save an event; without a tenant only operators see it."""
    return Event.objects.create(
        tenant=tenant,
        job=job,
        type=type,
        data=data,
        actor=actor,
        created_at=at,
        fanned_out_at=at,
    )


def find_events(*, tenant: Tenant, filters: EventFilter) -> QuerySet[Event]:
    """Return the tenant's audit log.

    Excludes job submissions, which the jobs show themselves, and events without actor.
    """
    conditions = Q()
    if filters.type:
        conditions &= Q(type=filters.type)
    if filters.created_after:
        conditions &= Q(created_at__gte=filters.created_after)
    if filters.created_before:
        conditions &= Q(created_at__lt=filters.created_before)
    # Matches the condition of the partial index event_audit.
    is_audited = ~Q(actor="") & ~Q(type="job.queued")
    return Event.objects.filter(is_audited, conditions, tenant=tenant)


def find_changes(row: Model, fields: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the old and new value of each field that changes."""
    return {
        name: (getattr(row, name), value)
        for name, value in fields.items()
        if getattr(row, name) != value
    }


def get_actor(api_key: ApiKey | None) -> str:
    """Return the actor name of a key; "" without a key."""
    return f"key:{api_key.public_id}" if api_key else ""
