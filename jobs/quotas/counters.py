"""Build, verify and repair quota counters.

Counters are derived from the rows of jobs and attempts. One statement reads both, so
the comparison is consistent; a repair adds the difference, so submits and ends can
continue meanwhile.
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
# Past periods are retained for their jobs that have not ended yet.
_RETAIN_DAYS = timedelta(days=40)
_RETAIN_MONTHS = timedelta(days=400)
_LEDGER_SECONDS = "round(least(greatest({}, 0), 1e8)::numeric, 3)"

# The hour allows for clock skew: a call may seem to start before its job's submit.
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
    """A call's audio seconds, rounded by the database to milliseconds.

    Clamped, so that every duration from Deepgram fits the columns.
    """

    template = _LEDGER_SECONDS.format("%(expressions)s")
    output_field = DecimalField(max_digits=16, decimal_places=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterDrift:
    """A counter (used, reserved; None if it does not exist) and the rows' sums."""

    period: str
    counter: tuple[Decimal, Decimal] | None
    used: Decimal
    reserved: Decimal

    @property
    def drift(self) -> tuple[Decimal, Decimal]:
        """The difference to add to the counter: used, reserved."""
        used, reserved = self.counter or (Decimal(0), Decimal(0))
        return self.used - used, self.reserved - reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """The state of one quota of a tenant; without a limit nothing is counted."""

    name: str
    limit: int | None
    resets_at: datetime | None
    used: Decimal | None = None
    reserved: Decimal | None = None
    remaining: Decimal | None = None


def is_limited(tenant: Tenant) -> bool:
    """Return whether the tenant has any quota."""
    return any(getattr(tenant, name) is not None for name in LIMITS)


def begin_counting(tenant: Tenant, *, now: datetime) -> None:
    """Create or repair the counters after limits changed; delete them without any."""
    if not is_limited(tenant):
        QuotaCounter.objects.filter(tenant=tenant).delete()
        return
    with transaction.atomic():
        _backfill_reservations(tenant)
        open_counters(tenant, periods=periods_at(now))
        repair(tenant, now=now)


def open_counters(tenant: Tenant, *, periods: Sequence[QuotaPeriod]) -> None:
    """Create missing counters from the rows; safe to run concurrently."""
    existing = set(QuotaCounter.objects.filter(tenant=tenant).values_list("period"))
    missing = [each for each in periods if (each.name,) not in existing]
    if any(each.is_open_jobs for each in missing):
        _backfill_reservations(tenant)
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
    """Return the tenant's quotas; computes those without a counter from the rows."""
    periods = [
        period
        for period in periods_at(now)
        if getattr(tenant, period.limit_field) is not None
    ]
    counters = QuotaCounter.objects.filter(
        tenant=tenant, period__in=[period.name for period in periods]
    )
    counts = {each.period: (each.used, each.reserved) for each in counters}
    missing = [period for period in periods if period.name not in counts]
    for count in compare(tenant, periods=missing):
        counts[count.period] = (count.used, count.reserved)
    return [
        _build_state(tenant, period, counts.get(period.name))
        for period in periods_at(now)
    ]


def _build_state(
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
    """Read the stored counters and the sums of the rows in one statement."""
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
    """Return the tenant's current counters that differ from the rows."""
    return [
        count
        for count in compare(tenant, periods=periods_at(now))
        if count.counter is not None and any(count.drift)
    ]


def repair(tenant: Tenant, *, now: datetime) -> list[CounterDrift]:
    """Add the differences to the tenant's counters; return those that differed."""
    with transaction.atomic():
        # One repair at a time, or the same difference would be added twice.
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
    """Yield the counters of all tenants that differ from the rows."""
    for tenant in Tenant.objects.filter(_has_quota()).order_by("pk"):
        for count in find_drift(tenant, now=now):
            yield tenant, count


def repair_all(*, now: datetime) -> Iterator[tuple[Tenant, CounterDrift]]:
    """Repair the counters of all tenants; yield those that differed."""
    for tenant in Tenant.objects.filter(_has_quota()).order_by("pk"):
        for count in repair(tenant, now=now):
            logger.warning(
                "quota counter repaired",
                extra={"tenant_id": tenant.pk, "period": count.period},
            )
            yield tenant, count


def repair_counters(*, now: datetime) -> int:
    """Repair all counters and delete unused ones; return how many differed."""
    repaired = sum(1 for _ in repair_all(now=now))
    unlimited = Tenant.objects.exclude(_has_quota())
    QuotaCounter.objects.filter(tenant__in=unlimited).delete()
    month, _, _ = periods_at(now - _RETAIN_MONTHS)
    _, day, _ = periods_at(now - _RETAIN_DAYS)
    for prefix, oldest in (("month:", month), ("day:", day)):
        QuotaCounter.objects.filter(
            period__startswith=prefix, period__lt=oldest.name
        ).delete()
    return repaired


def _has_quota() -> Q:
    limited = Q()
    for name in LIMITS:
        limited |= Q(**{f"{name}__isnull": False})
    return limited


def _backfill_reservations(tenant: Tenant) -> None:
    """Set the reservation of open jobs that were submitted before the limits."""
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
