"""A queued job's position and estimated start.

The position is in the tenant's own queue, because other tenants' backlogs do not delay
it. The estimate is the audio ahead divided by the tenant's recent throughput; without
recent calls there is none.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, Sum

from jobs.models import Attempt, Job, Mode
from jobs.state import JobStatus

MAX_COUNTED = 10_000  # bounds the cost of one response
SPEED_WINDOW = timedelta(minutes=5)
# Assumed for audio of unknown duration if no duration ahead of it is known.
USUAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePosition:
    """``position`` 1 is next; ``is_capped`` if more than ``MAX_COUNTED`` are ahead."""

    position: int
    is_capped: bool
    audio_seconds_ahead: float
    eta_seconds: float | None


def find_queue_position(job: Job, *, now: datetime) -> QueuePosition | None:
    """Return the position of a job; None if it is not queued and ready."""
    if job.status != JobStatus.QUEUED or not job.ready:
        return None
    sooner = Q(priority__lt=job.priority) | Q(priority=job.priority, id__lt=job.pk)
    ahead = Job.objects.filter(
        sooner,
        lane=job.lane,
        tenant_id=job.tenant_id,
        status=JobStatus.QUEUED,
        ready=True,
    )[:MAX_COUNTED]
    counted = Job.objects.filter(pk__in=ahead.values("pk")).aggregate(
        jobs=Count("id"), known=Count("duration_seconds"), sum=Sum("duration_seconds")
    )
    known = counted["sum"] or 0.0
    usual = known / counted["known"] if counted["known"] else USUAL_SECONDS
    count = counted["jobs"]
    seconds = known + usual * (count - counted["known"])
    speed = _measure_speed(job, now=now)
    return QueuePosition(
        position=count + 1,
        is_capped=count == MAX_COUNTED,
        audio_seconds_ahead=seconds,
        eta_seconds=seconds / speed if speed else None,
    )


def _measure_speed(job: Job, *, now: datetime) -> float:
    """Return audio seconds transcribed per second by the tenant's recent calls.

    Measured from the first of them, so that a queue that has just started counts.
    """
    calls = Attempt.objects.filter(
        job__tenant_id=job.tenant_id,
        outcome=Attempt.Outcome.OK,
        started_at__gte=now - SPEED_WINDOW,
    )
    done = calls.exclude(job__mode=Mode.LIVE).aggregate(
        audio=Sum("audio_seconds"), since=Min("started_at")
    )
    if not done["audio"]:
        return 0.0
    elapsed: timedelta = now - done["since"]
    return float(done["audio"]) / max(1.0, elapsed.total_seconds())
