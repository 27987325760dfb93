"""Who did what: one event row for each change that somebody made.

A job's own moves are written by ``jobs.services.advance``. Nobody outside is told of
what is recorded here.
"""

from datetime import datetime
from typing import Any

from jobs.models import ApiKey, Event, Job, Tenant

# Actors that are no key: the command line and the platform itself.
COMMAND = "manage.py"
PLATFORM = "platform"


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


def actor_of(api_key: ApiKey | None) -> str:
    """Return how a key is named as an actor; "" where no key was used."""
    return f"key:{api_key.public_id}" if api_key else ""
