"""What waits: by tenant and priority, in jobs and in seconds of audio.

A backlog of up to ten thousand is counted; a larger one is estimated from a
sample of the table's pages, as reading all of it would cost more than it says.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from jobs.models import Tenant
from jobs.scheduling.queue_position import USUAL_SECONDS

COUNTED = 10_000

_COUNTED = """
SELECT tenant_id, priority, count(*), count(duration_seconds),
  coalesce(sum(duration_seconds), 0), min(created_at)
FROM (
  SELECT tenant_id, priority, duration_seconds, created_at FROM jobs_job
  WHERE status = 'queued' AND ready LIMIT %s
) AS waiting GROUP BY 1, 2
"""
_SAMPLED = """
SELECT tenant_id, priority, count(*), count(duration_seconds),
  coalesce(sum(duration_seconds), 0), min(created_at)
FROM jobs_job TABLESAMPLE SYSTEM (%s)
WHERE status = 'queued' AND ready GROUP BY 1, 2
"""
_LATER = """
SELECT count(*) FROM (
  SELECT 1 FROM jobs_job WHERE status = 'queued' AND NOT ready LIMIT %s
) AS later
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJobs:
    """Jobs of one tenant and priority that could run now."""

    tenant: UUID
    priority: int
    jobs: int
    # What is of unknown length is taken to be as long as what is known.
    audio_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBacklog:
    """All that waits; ``is_estimate``: there is too much of it to be counted."""

    waiting: list[WaitingJobs]
    oldest_at: datetime | None
    is_estimate: bool
    # Held, backing off or of a paused batch; at most ``COUNTED``.
    later: int

    @property
    def jobs(self) -> int:
        """How many could run now."""
        return sum(each.jobs for each in self.waiting)

    @property
    def audio_seconds(self) -> float:
        """How much audio that is."""
        return sum(each.audio_seconds for each in self.waiting)

    def age(self, *, now: datetime) -> timedelta:
        """Return how long the oldest of them has waited."""
        return now - self.oldest_at if self.oldest_at else timedelta()


def read_backlog() -> QueueBacklog:
    """Count or estimate what waits."""
    # However stale the statistics are, the table itself is not read through.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(_COUNTED, [COUNTED + 1])
        rows = cursor.fetchall()
        cursor.execute(_LATER, [COUNTED])
        (later,) = cursor.fetchone() or (0,)
        scale = 1.0
        if sum(row[2] for row in rows) > COUNTED:
            scale, rows = _sample(cursor)
    return QueueBacklog(
        waiting=[_weigh(row, scale) for row in rows],
        oldest_at=min((row[5] for row in rows), default=None),
        is_estimate=scale > 1,
        later=later,
    )


def names_of(tenants: list[UUID]) -> dict[UUID, str]:
    """Return the names of tenants."""
    return dict(Tenant.objects.filter(pk__in=tenants).values_list("pk", "name"))


def _sample(cursor: Any) -> tuple[float, list[Any]]:
    cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'jobs_job'::regclass")
    (about,) = cursor.fetchone()
    share = min(1.0, COUNTED / max(about, COUNTED))
    cursor.execute(_SAMPLED, [100 * share])
    return 1 / share, cursor.fetchall()


def _weigh(row: Any, scale: float) -> WaitingJobs:
    tenant, priority, jobs, known, seconds, _ = row
    usual = seconds / known if known else USUAL_SECONDS
    return WaitingJobs(
        tenant=tenant,
        priority=priority,
        jobs=round(jobs * scale),
        audio_seconds=(seconds + usual * (jobs - known)) * scale,
    )
