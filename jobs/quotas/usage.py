"""What a tenant has used, summed from the ledger. Nothing here writes.

Every upstream call counts in the UTC day in which it began, whatever became of its job:
erased jobs leave their calls. One that nobody knows the end of is a call all the same.
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
# A year of many calls is a long sum, and asked for seldom.
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
_PREFIX = "group_"  # apart from the columns of that name


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Which days, both ends counted in, and what makes a row of its own."""

    since: date
    until: date
    group_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Rows in the order of what they are grouped by, and the sums over all of it."""

    since: date
    until: date
    group_by: tuple[str, ...]
    rows: list[dict[str, Any]]
    totals: dict[str, Any]


def find_usage(*, tenant: Tenant, query: UsageQuery) -> Usage:
    """Sum up the tenant's calls; raises InvalidRequest where it makes too many rows.

    A job that was called on two days is one in each row, and one in the totals.
    """
    calls = Attempt.objects.filter(
        tenant=tenant,
        started_at__gte=datetime.combine(query.since, time.min, UTC),
        started_at__lte=datetime.combine(query.until, time.max, UTC),
    )
    with (
        statement_limits.slow_statement_slot(tenant.pk),
        statement_limits.limited_to(STATEMENT_SECONDS),
    ):
        return _sum_up(calls, query)


def _sum_up(calls: QuerySet[Attempt], query: UsageQuery) -> Usage:
    keys = {_PREFIX + name: GROUPS[name] for name in query.group_by}
    grouped = calls.annotate(**keys).values(*keys).annotate(**MEASURES)
    rows = list(grouped.order_by(*keys)[: MAX_ROWS + 1])
    if len(rows) > MAX_ROWS:
        message = f"This makes more than {MAX_ROWS} rows: ask for fewer days or groups."
        raise InvalidRequest(message, code="usage_too_large", pointer="?group_by")
    return Usage(
        since=query.since,
        until=query.until,
        group_by=query.group_by,
        rows=[_name_groups(row) for row in rows],
        totals=calls.aggregate(**MEASURES),
    )


def _name_groups(row: Mapping[str, Any]) -> dict[str, Any]:
    """Name the groups as they were asked for."""
    return {name.removeprefix(_PREFIX): value for name, value in row.items()}
