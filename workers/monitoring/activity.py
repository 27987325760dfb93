"""Recent activity: ended jobs per minute, and today's spending."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from jobs.models import Region, Tenant
from workers.monitoring.time_buckets import TimeBuckets

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
QUANTILES = (0.5, 0.95, 0.99)
# Time limit for loading hours in one read; one hour may exceed it.
TODAY_SECONDS = 0.1

# Uses only the index job_ended, which has jobs of all modes.
_ENDED_SQL = """
SELECT date_trunc('minute', finished_at), status, count(*),
  percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP
    (ORDER BY extract(epoch FROM finished_at - created_at))
FROM jobs_job
WHERE finished_at IS NOT NULL AND finished_at >= %s AND finished_at < %s
GROUP BY 1, 2
"""
# Filters by region to use the index attempt_recent.
_SPENT_SQL = """
SELECT date_trunc('hour', started_at), tenant_id, count(*),
  coalesce(sum(audio_seconds), 0), coalesce(sum(cost_estimate::float8), 0)
FROM jobs_attempt
WHERE region_id = ANY(%s) AND started_at >= %s AND started_at < %s
GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteActivity:
    """Jobs that ended in one minute by status, and the durations of completed ones."""

    ended: Mapping[str, int]
    # p50, p95 and p99 from submission to end, in seconds; empty if none completed.
    seconds: tuple[float, ...] = ()


@dataclass(slots=True, kw_only=True)
class Spending:
    """Calls, audio seconds and cost."""

    calls: int = 0
    audio_seconds: float = 0.0
    # Approximate: bills use the decimals of the attempts.
    cost: float = 0.0

    def add(self, other: "Spending") -> None:
        """Add other spending in place."""
        self.calls += other.calls
        self.audio_seconds += other.audio_seconds
        self.cost += other.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class TodaySpending:
    """Cost of this UTC day by the price list, in total and by tenant.

    If not `is_complete`, hours that are not loaded yet count as zero.
    """

    is_complete: bool
    total: Spending
    by_hour: list[float]
    top: list[tuple[UUID, str, Spending]]


def _load_minutes(since: datetime, until: datetime) -> dict[datetime, MinuteActivity]:
    ended: dict[datetime, dict[str, int]] = defaultdict(dict)
    seconds: dict[datetime, tuple[float, ...]] = {}
    for minute, status, number, quantiles in _rows(_ENDED_SQL, [since, until]):
        ended[minute][status] = number
        if status == "completed":
            seconds[minute] = tuple(float(value) for value in quantiles)
    return {
        minute: MinuteActivity(ended=counts, seconds=seconds.get(minute, ()))
        for minute, counts in ended.items()
    }


def _load_hours(
    since: datetime, until: datetime
) -> dict[datetime, dict[UUID, Spending]]:
    hours: dict[datetime, dict[UUID, Spending]] = defaultdict(dict)
    regions = list(Region.objects.values_list("name", flat=True))
    for hour, tenant, calls, audio, cost in _rows(_SPENT_SQL, [regions, since, until]):
        hours[hour][tenant] = Spending(calls=calls, audio_seconds=audio, cost=cost)
    return hours


def _rows(sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


# A commit can follow its `finished_at` by some seconds.
minutes = TimeBuckets(_load_minutes, step=MINUTE, settled_after=MINUTE)
# The cost of a call is known at its end; only few live sessions last longer.
hours = TimeBuckets(_load_hours, step=HOUR, settled_after=MINUTE * 45)


def read_minutes(
    *, now: datetime, window: timedelta = HOUR
) -> dict[datetime, MinuteActivity | None]:
    """Return the minutes of the window, the current one last."""
    return minutes.read(now - window, now=now)


def read_today(*, now: datetime, top: int = 8) -> TodaySpending:
    """Return the spending since midnight UTC, as far as it loads in time."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    total, by_hour = Spending(), []
    tenants: dict[UUID, Spending] = defaultdict(Spending)
    loaded = hours.read_some(midnight, now=now, seconds=TODAY_SECONDS)
    starts = [midnight + n * HOUR for n in range((now - midnight) // HOUR + 1)]
    for start in starts:
        cost = 0.0
        for tenant, spending in (loaded.get(start) or {}).items():
            tenants[tenant].add(spending)
            total.add(spending)
            cost += spending.cost
        by_hour.append(cost)
    top_tenants = sorted(tenants, key=lambda pk: -tenants[pk].audio_seconds)[:top]
    names = dict(Tenant.objects.filter(pk__in=top_tenants).values_list("pk", "name"))
    return TodaySpending(
        is_complete=len(loaded) == len(starts),
        total=total,
        by_hour=by_hour,
        top=[(pk, names.get(pk, ""), tenants[pk]) for pk in top_tenants],
    )
