"""Where a waiting job stands and when it may start: measured, or not said.

The position is in the tenant's own queue: others' backlogs do not change its turn. The
time is the audio ahead divided by the speed at which this tenant's audio was done of
late; without recent work there is no honest figure, so there is none.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q, Sum

from jobs.models import Attempt, Job, Mode
from jobs.state import JobStatus

# Counting a backlog of a hundred thousand for one answer would cost more than it says.
MAX_COUNTED = 10_000
SPEED_WINDOW = timedelta(minutes=5)
# What audio of unknown length is taken for, where nothing better is known.
USUAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePosition:
    """``position`` 1 is next; ``is_capped`` when more stand ahead than are counted."""

    position: int
    is_capped: bool
    audio_seconds_ahead: float
    eta_seconds: float | None


def find_queue_position(job: Job, *, now: datetime) -> QueuePosition | None:
    """Return where a job stands; None when it does not wait for its turn."""
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
    """Return audio seconds done a second, by this tenant's calls of late.

    From the first of them to now, so that a queue that has just begun to move counts.
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
    took: timedelta = now - done["since"]
    return float(done["audio"]) / max(1.0, took.total_seconds())
