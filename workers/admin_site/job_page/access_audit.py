"""Who of the operators looked at a customer's content: one audit row for each look."""

from datetime import datetime, timedelta

from jobs.accounts import audit
from jobs.models import Event, Job

AUDIO = "job.audio_heard"
TRANSCRIPT = "job.transcript_read"
# A player asks for many parts of one file.
ONE_LOOK = timedelta(minutes=10)


def record_look(*, job: Job, kind: str, actor: str, now: datetime) -> None:
    """Write down that somebody looks, before anything is shown."""
    known = Event.objects.filter(
        job=job, type=kind, actor=actor, created_at__gt=now - ONE_LOOK
    )
    if not known.exists():
        audit.record(type=kind, actor=actor, at=now, tenant=job.tenant, job=job)
