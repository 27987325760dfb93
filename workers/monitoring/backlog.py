"""The backlog by tenant and priority, in jobs and in seconds of audio.

Jobs of paused tenants, and jobs whose regions are all closed by an operator, cannot run
and do not count.

Counts up to 10,000 jobs; estimates more from a sample of the table's pages, since
counting them all is too expensive.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from jobs.models import Region, Tenant
from jobs.routing import routing_keys
from jobs.scheduling.claims import find_routing_keys
from jobs.scheduling.queue_position import USUAL_SECONDS

MAX_COUNTED = 10_000

_COUNT_SQL = """
SELECT tenant_id, priority, count(*), count(duration_seconds),
  coalesce(sum(duration_seconds), 0), min(created_at)
FROM (
  SELECT tenant_id, priority, duration_seconds, created_at FROM jobs_job
  WHERE status = 'queued' AND ready AND lane = ANY(%(lanes)s)
    AND tenant_id = ANY(ARRAY(SELECT id FROM jobs_tenant WHERE NOT is_paused))
  LIMIT %(limit)s
) AS waiting GROUP BY 1, 2
"""
_SAMPLE_SQL = """
SELECT tenant_id, priority, count(*), count(duration_seconds),
  coalesce(sum(duration_seconds), 0), min(created_at)
FROM jobs_job TABLESAMPLE SYSTEM (%(percent)s)
  WHERE status = 'queued' AND ready AND lane = ANY(%(lanes)s)
    AND tenant_id = ANY(ARRAY(SELECT id FROM jobs_tenant WHERE NOT is_paused))
GROUP BY 1, 2
"""
_CLOSED_SQL = """
SELECT count(*) FROM (
  SELECT 1 FROM jobs_job WHERE status = 'queued' AND ready
    AND lane = ANY(%(lanes)s)
    AND tenant_id = ANY(ARRAY(SELECT id FROM jobs_tenant WHERE NOT is_paused))
  LIMIT %(limit)s
) AS closed
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
    # Their regions are all drained or disabled; at most ``MAX_COUNTED``.
    closed: int = 0

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
    open_keys, closed_keys = _split_routing_keys()
    # Prevents a sequential scan when the planner's statistics are outdated.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        limits = {"limit": MAX_COUNTED + 1}
        cursor.execute(_COUNT_SQL, {"lanes": open_keys, **limits})
        rows = cursor.fetchall()
        closed = 0
        if closed_keys:
            cursor.execute(_CLOSED_SQL, {"lanes": closed_keys, "limit": MAX_COUNTED})
            (closed,) = cursor.fetchone() or (0,)
        cursor.execute(_LATER_SQL, [MAX_COUNTED])
        (later,) = cursor.fetchone() or (0,)
        scale = 1.0
        if sum(row[2] for row in rows) > MAX_COUNTED:
            scale, rows = _sample(cursor, open_keys)
    return QueueBacklog(
        waiting=[_scale_row(row, scale) for row in rows],
        oldest_at=min((row[5] for row in rows), default=None),
        is_estimate=scale > 1,
        later=later,
        closed=closed,
    )


def read_names(tenants: list[UUID]) -> dict[UUID, str]:
    """Return the names of tenants."""
    return dict(Tenant.objects.filter(pk__in=tenants).values_list("pk", "name"))


def _split_routing_keys() -> tuple[list[str], list[str]]:
    """Return the routing keys with work: those that can run, and the closed ones.

    Closed: an operator drained or disabled every region of the key. A pause after
    Deepgram's refusal, or a region that does not exist, is not intended.
    """
    rows = list(Region.objects.values_list("name", "is_enabled", "is_drained"))
    split: tuple[list[str], list[str]] = ([], [])
    for key in find_routing_keys():
        closed = [
            not enabled or drained
            for name, enabled, drained in rows
            if routing_keys.can_run(key, name)
        ]
        split[bool(closed) and all(closed)].append(key)
    return split


def _sample(cursor: Any, open_keys: list[str]) -> tuple[float, list[Any]]:
    cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'jobs_job'::regclass")
    (row_count,) = cursor.fetchone()
    share = min(1.0, MAX_COUNTED / max(row_count, MAX_COUNTED))
    cursor.execute(_SAMPLE_SQL, {"percent": 100 * share, "lanes": open_keys})
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
