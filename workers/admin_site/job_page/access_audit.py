"""Records operators' access to customer content as audit events."""

from datetime import datetime, timedelta

from jobs.accounts import audit
from jobs.models import Event, Job

AUDIO = "job.audio_heard"
TRANSCRIPT = "job.transcript_read"
# A player requests many parts of a file: one event per period.
ACCESS_PERIOD = timedelta(minutes=10)


def record_access(*, job: Job, kind: str, actor: str, now: datetime) -> None:
    """Record an access before the content is returned."""
    recent = Event.objects.filter(
        job=job, type=kind, actor=actor, created_at__gt=now - ACCESS_PERIOD
    )
    if not recent.exists():
        audit.record(type=kind, actor=actor, at=now, tenant=job.tenant, job=job)
