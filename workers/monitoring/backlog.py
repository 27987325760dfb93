"""The backlog by tenant and priority, in jobs and in seconds of audio.

Counts up to 10,000 jobs; estimates more from a sample of the table's pages, since
counting them all is too expensive.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from jobs.models import Tenant
from jobs.scheduling.queue_position import USUAL_SECONDS

MAX_COUNTED = 10_000

_COUNT_SQL = """
SELECT tenant_id, priority, count(*), count(duration_seconds),
  coalesce(sum(duration_seconds), 0), min(created_at)
FROM (
  SELECT tenant_id, priority, duration_seconds, created_at FROM jobs_job
  WHERE status = 'queued' AND ready LIMIT %s
) AS waiting GROUP BY 1, 2
"""
_SAMPLE_SQL = """
SELECT tenant_id, priority, count(*), count(duration_seconds),
  coalesce(sum(duration_seconds), 0), min(created_at)
FROM jobs_job TABLESAMPLE SYSTEM (%s)
WHERE status = 'queued' AND ready GROUP BY 1, 2
"""
_LATER_SQL = """
SELECT count(*) FROM (
  SELECT 1 FROM jobs_job WHERE status = 'queued' AND NOT ready LIMIT %s
) AS later
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJobs:
    """The jobs of one tenant and priority that are ready to run."""

    tenant: UUID
    priority: int
    jobs: int
    # Audio of unknown length counts with the average of the known.
    audio_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBacklog:
    """All waiting jobs; ``is_estimate``: sampled, because there are too many."""

    waiting: list[WaitingJobs]
    oldest_at: datetime | None
    is_estimate: bool
    # Held, backing off or in a paused batch; at most ``MAX_COUNT_SQL``.
    later: int

    @property
    def jobs(self) -> int:
        """Return the number of jobs that are ready to run."""
        return sum(group.jobs for group in self.waiting)

    @property
    def audio_seconds(self) -> float:
        """Return the audio seconds of these jobs."""
        return sum(group.audio_seconds for group in self.waiting)

    def age(self, *, now: datetime) -> timedelta:
        """Return the waiting time of the oldest job."""
        return now - self.oldest_at if self.oldest_at else timedelta()


def read_backlog() -> QueueBacklog:
    """Count or estimate the waiting jobs."""
    # Prevents a sequential scan when the planner's statistics are outdated.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(_COUNT_SQL, [MAX_COUNTED + 1])
        rows = cursor.fetchall()
        cursor.execute(_LATER_SQL, [MAX_COUNTED])
        (later,) = cursor.fetchone() or (0,)
        scale = 1.0
        if sum(row[2] for row in rows) > MAX_COUNTED:
            scale, rows = _sample(cursor)
    return QueueBacklog(
        waiting=[_scale_row(row, scale) for row in rows],
        oldest_at=min((row[5] for row in rows), default=None),
        is_estimate=scale > 1,
        later=later,
    )


def read_names(tenants: list[UUID]) -> dict[UUID, str]:
    """Return the names of tenants."""
    return dict(Tenant.objects.filter(pk__in=tenants).values_list("pk", "name"))


def _sample(cursor: Any) -> tuple[float, list[Any]]:
    cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'jobs_job'::regclass")
    (row_count,) = cursor.fetchone()
    share = min(1.0, MAX_COUNTED / max(row_count, MAX_COUNTED))
    cursor.execute(_SAMPLE_SQL, [100 * share])
    return 1 / share, cursor.fetchall()


def _scale_row(row: Any, scale: float) -> WaitingJobs:
    tenant, priority, jobs, known, seconds, _ = row
    average = seconds / known if known else USUAL_SECONDS
    return WaitingJobs(
        tenant=tenant,
        priority=priority,
        jobs=round(jobs * scale),
        audio_seconds=(seconds + average * (jobs - known)) * scale,
    )
