"""What was done of late: jobs that ended, minute by minute, and today's spending."""

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
# What one look at today may take, and one hour more; a process has few such looks.
TODAY_SECONDS = 0.1

# Off the index job_ended alone. Synchronous and live jobs are in it: all that ended.
_ENDED = """
SELECT date_trunc('minute', finished_at), status, count(*),
  percentile_disc(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP
    (ORDER BY extract(epoch FROM finished_at - created_at))
FROM jobs_job
WHERE finished_at IS NOT NULL AND finished_at >= %s AND finished_at < %s
GROUP BY 1, 2
"""
# A region at a time, as the index attempt_recent has them.
_SPENT = """
SELECT date_trunc('hour', started_at), tenant_id, count(*),
  coalesce(sum(audio_seconds), 0), coalesce(sum(cost_estimate::float8), 0)
FROM jobs_attempt
WHERE region_id = ANY(%s) AND started_at >= %s AND started_at < %s
GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteActivity:
    """Jobs that ended in it, by status, and how long the completed ones took."""

    ended: Mapping[str, int]
    # p50, p95 and p99 from submit to end, in seconds; empty when none was completed.
    seconds: tuple[float, ...] = ()


@dataclass(slots=True, kw_only=True)
class Spending:
    """Calls, audio and cost."""

    calls: int = 0
    audio_seconds: float = 0.0
    # For the eye: bills are summed from the ledger's decimals.
    cost: float = 0.0

    def add(self, other: "Spending") -> None:
        """Add another's to it."""
        self.calls += other.calls
        self.audio_seconds += other.audio_seconds
        self.cost += other.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class TodaySpending:
    """What this UTC day has cost, by the price list, and whose audio it was.

    Not whole: some hours were not yet summed up, and count as nothing.
    """

    is_whole: bool
    total: Spending
    by_hour: list[float]
    top: list[tuple[UUID, str, Spending]]


def _load_minutes(since: datetime, until: datetime) -> dict[datetime, MinuteActivity]:
    ended: dict[datetime, dict[str, int]] = defaultdict(dict)
    seconds: dict[datetime, tuple[float, ...]] = {}
    for minute, status, number, quantiles in _rows(_ENDED, [since, until]):
        ended[minute][status] = number
        if status == "completed":
            seconds[minute] = tuple(float(each) for each in quantiles)
    return {
        minute: MinuteActivity(ended=counts, seconds=seconds.get(minute, ()))
        for minute, counts in ended.items()
    }


def _load_hours(
    since: datetime, until: datetime
) -> dict[datetime, dict[UUID, Spending]]:
    hours: dict[datetime, dict[UUID, Spending]] = defaultdict(dict)
    regions = list(Region.objects.values_list("name", flat=True))
    for hour, tenant, calls, audio, cost in _rows(_SPENT, [regions, since, until]):
        hours[hour][tenant] = Spending(calls=calls, audio_seconds=audio, cost=cost)
    return hours


def _rows(sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


# A commit may come some seconds after the time that it writes down.
minutes = TimeBuckets(_load_minutes, step=MINUTE, settled_after=MINUTE)
# A call's cost is known at its end; longer ones than this are live sessions, few.
hours = TimeBuckets(_load_hours, step=HOUR, settled_after=MINUTE * 45)


def read_minutes(
    *, now: datetime, window: timedelta = HOUR
) -> dict[datetime, MinuteActivity | None]:
    """Return the minutes of the window, the running one last."""
    return minutes.read(now - window, now=now)


def read_today(*, now: datetime, top: int = 8) -> TodaySpending:
    """Return what began since midnight UTC, as far as it is soon summed up."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    total, by_hour = Spending(), []
    tenants: dict[UUID, Spending] = defaultdict(Spending)
    found = hours.read_some(midnight, now=now, seconds=TODAY_SECONDS)
    starts = [midnight + n * HOUR for n in range((now - midnight) // HOUR + 1)]
    for each in starts:
        cost = 0.0
        for tenant, one in (found.get(each) or {}).items():
            tenants[tenant].add(one)
            total.add(one)
            cost += one.cost
        by_hour.append(cost)
    most = sorted(tenants, key=lambda pk: -tenants[pk].audio_seconds)[:top]
    names = dict(Tenant.objects.filter(pk__in=most).values_list("pk", "name"))
    return TodaySpending(
        is_whole=len(found) == len(starts),
        total=total,
        by_hour=by_hour,
        top=[(pk, names.get(pk, ""), tenants[pk]) for pk in most],
    )
