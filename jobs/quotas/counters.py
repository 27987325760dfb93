"""Quota counters made from the rows, and held against them.

The counters are a copy: whatever they say, jobs and ledger say too. One statement reads
both, so they are compared as of one moment, and a difference is mended by adding it,
while submits and ends go on.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, DecimalField, F, Func, Q, Value, When

from jobs.models import Job, QuotaCounter, Tenant
from jobs.quotas.periods import QuotaPeriod, periods_at
from jobs.state import OPEN

logger = logging.getLogger(__name__)

LIMITS = ("max_open_jobs", "audio_seconds_per_day", "audio_seconds_per_month")
# Ended periods are kept for jobs that have still to end in them.
_DAYS_KEPT = timedelta(days=40)
_MONTHS_KEPT = timedelta(days=400)
_LEDGER_SECONDS = "round(least(greatest({}, 0), 1e8)::numeric, 3)"

# The slack is for clocks that differ: a call may seem to begin before its job came.
_COMPARE = f"""
SELECT period.name,
  counter.used, counter.reserved,
  CASE WHEN period.until IS NULL THEN 0 ELSE (
    SELECT coalesce(sum({_LEDGER_SECONDS.format("call.audio_seconds")}), 0)
    FROM jobs_attempt call JOIN jobs_job job ON job.id = call.job_id
    WHERE call.tenant_id = %(tenant)s
    AND call.started_at >= period.since - interval '1 hour'
    AND call.audio_seconds IS NOT NULL
    AND job.created_at >= period.since AND job.created_at < period.until
    AND job.status NOT IN ('queued', 'processing')) END,
  CASE WHEN period.until IS NULL THEN held.jobs ELSE held.seconds END
FROM unnest(%(names)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[])
  AS period (name, since, until)
LEFT JOIN jobs_quotacounter counter
  ON counter.tenant_id = %(tenant)s AND counter.period = period.name
CROSS JOIN LATERAL (
  SELECT count(*) AS jobs, coalesce(sum(job.reserved_seconds), 0) AS seconds
  FROM jobs_job job
  WHERE job.tenant_id = %(tenant)s AND job.status IN ('processing', 'queued')
  AND job.reserved_seconds IS NOT NULL
  AND (period.until IS NULL
       OR job.created_at >= period.since AND job.created_at < period.until)
) held
"""  # noqa: S608  only constants of this module are in it


class LedgerSeconds(Func):
    """A call's audio as counters count it: rounded in one place, the database.

    Whatever nonsense an upstream may say of a duration, it fits the columns.
    """

    template = _LEDGER_SECONDS.format("%(expressions)s")
    output_field = DecimalField(max_digits=16, decimal_places=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterDrift:
    """What a counter says and what the rows say; no counter says None."""

    period: str
    counter: tuple[Decimal, Decimal] | None
    used: Decimal
    reserved: Decimal

    @property
    def drift(self) -> tuple[Decimal, Decimal]:
        """What has to be added to the counter, used and reserved."""
        used, reserved = self.counter or (Decimal(0), Decimal(0))
        return self.used - used, self.reserved - reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """One quota of a tenant as it stands; without a limit nothing is counted."""

    name: str
    limit: int | None
    resets_at: datetime | None
    used: Decimal | None = None
    reserved: Decimal | None = None
    remaining: Decimal | None = None


def is_limited(tenant: Tenant) -> bool:
    """Tell whether the tenant has any quota at all."""
    return any(getattr(tenant, name) is not None for name in LIMITS)


def begin_counting(tenant: Tenant, *, now: datetime) -> None:
    """Bring the counters up after limits were set; without any, drop them."""
    if not is_limited(tenant):
        QuotaCounter.objects.filter(tenant=tenant).delete()
        return
    with transaction.atomic():
        _adopt(tenant)
        open_counters(tenant, periods=periods_at(now))
        repair(tenant, now=now)


def open_counters(tenant: Tenant, *, periods: Sequence[QuotaPeriod]) -> None:
    """Make the counters that are not there, from the rows; others make them too."""
    there = set(QuotaCounter.objects.filter(tenant=tenant).values_list("period"))
    missing = [each for each in periods if (each.name,) not in there]
    if any(each.is_open_jobs for each in missing):
        _adopt(tenant)
    QuotaCounter.objects.bulk_create(
        [
            QuotaCounter(
                tenant=tenant,
                period=count.period,
                used=count.used,
                reserved=count.reserved,
            )
            for count in compare(tenant, periods=missing)
        ],
        ignore_conflicts=True,
    )


def read_quotas(*, tenant: Tenant, now: datetime) -> list[QuotaState]:
    """Return how the tenant's quotas stand, read from the rows before any is used."""
    periods = [
        period
        for period in periods_at(now)
        if getattr(tenant, period.limit_field) is not None
    ]
    found = QuotaCounter.objects.filter(
        tenant=tenant, period__in=[period.name for period in periods]
    )
    counts = {each.period: (each.used, each.reserved) for each in found}
    missing = [period for period in periods if period.name not in counts]
    for count in compare(tenant, periods=missing):
        counts[count.period] = (count.used, count.reserved)
    return [
        _state_of(tenant, period, counts.get(period.name)) for period in periods_at(now)
    ]


def _state_of(
    tenant: Tenant, period: QuotaPeriod, count: tuple[Decimal, Decimal] | None
) -> QuotaState:
    limit: int | None = getattr(tenant, period.limit_field)
    if limit is None or count is None:
        return QuotaState(name=period.limit_field, limit=limit, resets_at=None)
    used, reserved = count
    return QuotaState(
        name=period.limit_field,
        limit=limit,
        resets_at=period.until,
        used=used,
        reserved=reserved,
        remaining=max(Decimal(0), limit - used - reserved),
    )


def compare(tenant: Tenant, *, periods: Iterable[QuotaPeriod]) -> list[CounterDrift]:
    """Read the counters and what they should say, as of one moment."""
    spans: Any = list(periods)
    with connection.cursor() as cursor:
        cursor.execute(
            _COMPARE + "ORDER BY period.name",
            {
                "tenant": tenant.pk,
                "names": [each.name for each in spans],
                "since": [each.since for each in spans],
                "until": [each.until for each in spans],
            },
        )
        return [
            CounterDrift(
                period=name,
                counter=None if used is None else (used, reserved),
                used=Decimal(counted_used),
                reserved=Decimal(counted_reserved),
            )
            for name, used, reserved, counted_used, counted_reserved in cursor
        ]


def find_drift(tenant: Tenant, *, now: datetime) -> list[CounterDrift]:
    """Return the present counters that do not say what the rows say."""
    return [
        count
        for count in compare(tenant, periods=periods_at(now))
        if count.counter is not None and any(count.drift)
    ]


def repair(tenant: Tenant, *, now: datetime) -> list[CounterDrift]:
    """Add what is missing to the tenant's counters; return what was wrong."""
    with transaction.atomic():
        # One at a time, or the same difference would be added twice.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(hashtext('quota'), hashtext(%s))",
                [str(tenant.pk)],
            )
        drifted = find_drift(tenant, now=now)
        for count in drifted:
            used, reserved = count.drift
            QuotaCounter.objects.filter(tenant=tenant, period=count.period).update(
                used=F("used") + used, reserved=F("reserved") + reserved
            )
    return drifted


def find_all(*, now: datetime) -> Iterator[tuple[Tenant, CounterDrift]]:
    """Find drift in every tenant's counters."""
    for tenant in Tenant.objects.filter(_limited()).order_by("pk"):
        for count in find_drift(tenant, now=now):
            yield tenant, count


def repair_all(*, now: datetime) -> Iterator[tuple[Tenant, CounterDrift]]:
    """Mend every tenant's counters, and tell what was wrong."""
    for tenant in Tenant.objects.filter(_limited()).order_by("pk"):
        for count in repair(tenant, now=now):
            logger.warning(
                "quota counter mended",
                extra={"tenant_id": tenant.pk, "period": count.period},
            )
            yield tenant, count


def sweep(*, now: datetime) -> int:
    """Mend every counter and drop old and needless ones; return how many were wrong."""
    mended = sum(1 for _ in repair_all(now=now))
    unlimited = Tenant.objects.exclude(_limited())
    QuotaCounter.objects.filter(tenant__in=unlimited).delete()
    month, _, _ = periods_at(now - _MONTHS_KEPT)
    _, day, _ = periods_at(now - _DAYS_KEPT)
    for kind, oldest in (("month:", month), ("day:", day)):
        QuotaCounter.objects.filter(
            period__startswith=kind, period__lt=oldest.name
        ).delete()
    return mended


def _limited() -> Q:
    limited = Q()
    for name in LIMITS:
        limited |= Q(**{f"{name}__isnull": False})
    return limited


def _adopt(tenant: Tenant) -> None:
    """Let open jobs from before there were limits count as if they had reserved."""
    known = LedgerSeconds("duration_seconds")
    unknown = Value(Decimal(settings.DEFAULT_RESERVE_SECONDS))
    Job.objects.filter(
        tenant=tenant, status__in=sorted(OPEN), reserved_seconds=None
    ).update(
        reserved_seconds=Case(
            When(duration_seconds=None, then=unknown),
            default=known,
            output_field=DecimalField(),
        )
    )
