"""Usage reports: sums over a tenant's attempts. Nothing here writes.

Every call to Deepgram counts in the UTC day of its start, including calls of erased
jobs and calls with an unknown outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from jobs.concurrency import statement_limits
from jobs.errors import InvalidRequest
from jobs.models import Attempt, Tenant
from jobs.quotas.counters import LedgerSeconds

MAX_ROWS = 10_000
# Longer than other requests' limit: a year's sum is slow, and rarely requested.
STATEMENT_SECONDS = 60.0
GROUPS: dict[str, Any] = {
    "day": TruncDate("started_at", tzinfo=UTC),
    "model": F("model"),
    "region": F("region_id"),
    "key": F("job__api_key__public_id"),
    "batch": F("job__batch_id"),
}
MEASURES: dict[str, Any] = {
    "jobs": Count("job_id", distinct=True),
    "calls": Count("pk"),
    "failed_calls": Count("pk", filter=Q(outcome=Attempt.Outcome.ERROR)),
    "unknown_calls": Count("pk", filter=Q(outcome=Attempt.Outcome.UNKNOWN)),
    "audio_seconds": Sum(LedgerSeconds("audio_seconds"), default=0),
    "cost_estimate": Sum("cost_estimate"),
}
_PREFIX = "group_"  # avoids a conflict with columns of the same name


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """The days of a report, both inclusive, and its grouping."""

    since: date
    until: date
    group_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Rows, ordered by their groups, and the totals."""

    since: date
    until: date
    group_by: tuple[str, ...]
    rows: list[dict[str, Any]]
    totals: dict[str, Any]


def find_usage(*, tenant: Tenant, query: UsageQuery) -> Usage:
    """Sum the tenant's calls; raises InvalidRequest for more than ``MAX_ROWS`` rows.

    A job with calls on two days counts once in each row and once in the totals.
    """
    calls = Attempt.objects.filter(
        tenant=tenant,
        started_at__gte=datetime.combine(query.since, time.min, UTC),
        started_at__lte=datetime.combine(query.until, time.max, UTC),
    )
    with (
        statement_limits.slow_statement_slot(tenant.pk),
        statement_limits.limit_statements(STATEMENT_SECONDS),
    ):
        return _sum_up(calls, query)


def _sum_up(calls: QuerySet[Attempt], query: UsageQuery) -> Usage:
    keys = {_PREFIX + name: GROUPS[name] for name in query.group_by}
    grouped = calls.annotate(**keys).values(*keys).annotate(**MEASURES)
    rows = list(grouped.order_by(*keys)[: MAX_ROWS + 1])
    if len(rows) > MAX_ROWS:
        message = f"More than {MAX_ROWS} rows: request fewer days or groups."
        raise InvalidRequest(message, code="usage_too_large", pointer="?group_by")
    return Usage(
        since=query.since,
        until=query.until,
        group_by=query.group_by,
        rows=[_name_groups(row) for row in rows],
        totals=calls.aggregate(**MEASURES),
    )


def _name_groups(row: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the prefix from the names of groups."""
    return {name.removeprefix(_PREFIX): value for name, value in row.items()}
