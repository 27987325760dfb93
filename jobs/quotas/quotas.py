"""Quotas: reserved when a job is submitted, settled when it ends.

A job counts in the UTC day and month of its submit, by the plain duration of its audio
whatever channels are billed. Counters are locked last, after any job's row, and in one
order, so that nobody waits in a circle. A tenant without limits costs no statement.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, DecimalField, F, Sum, Value, When

from jobs.errors import LimitExceeded
from jobs.models import Attempt, Job, QuotaCounter, Tenant
from jobs.quotas import counters as quota_counts
from jobs.quotas.counters import LedgerSeconds
from jobs.quotas.periods import OPEN_NAME, QuotaPeriod, periods_at

_LONGEST = Decimal(100_000_000)  # three years: what no audio is, and a column holds
_MILLISECOND = Decimal("0.001")

_WHAT = {
    "max_open_jobs": "jobs open at once",
    "audio_seconds_per_day": "seconds of audio a day",
    "audio_seconds_per_month": "seconds of audio a month",
}

_APPLY = """
WITH change AS (
  SELECT * FROM unnest(%s::uuid[], %s::text[], %s::numeric[], %s::numeric[])
  AS change (tenant, period, used, reserved)
), locked AS (
  SELECT counter.id, change.used, change.reserved
  FROM jobs_quotacounter counter JOIN change
  ON counter.tenant_id = change.tenant AND counter.period = change.period
  ORDER BY counter.tenant_id, counter.period FOR NO KEY UPDATE OF counter
)
UPDATE jobs_quotacounter counter
SET used = counter.used + locked.used, reserved = counter.reserved + locked.reserved
FROM locked WHERE counter.id = locked.id
"""


@dataclass(slots=True)
class _Change:
    used: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)


def reserve(*, jobs: Sequence[Job], now: datetime) -> None:
    """Take what new jobs of one tenant need, all of it or nothing.

    To be called in the transaction that writes them, created at ``now``; it notes on
    each what was reserved for it. Raises LimitExceeded.
    """
    tenant = jobs[0].tenant
    if not quota_counts.is_limited(tenant):
        return
    for job in jobs:
        job.reserved_seconds = estimate_seconds(job.duration_seconds)
    seconds = sum((job.reserved_seconds or Decimal(0) for job in jobs), Decimal(0))
    counters = _hold(tenant, number=len(jobs), seconds=seconds, now=now)
    QuotaCounter.objects.filter(pk__in=[each.pk for each in counters.values()]).update(
        reserved=F("reserved")
        + Case(
            When(period=OPEN_NAME, then=Value(len(jobs))),
            default=Value(seconds),
            output_field=DecimalField(),
        )
    )


def estimate_seconds(duration: float | None) -> Decimal:
    """Return what to reserve for audio of that length, or of one nobody knows."""
    if duration is None:
        return Decimal(settings.DEFAULT_RESERVE_SECONDS)
    return min(Decimal(str(duration)), _LONGEST).quantize(_MILLISECOND)


def check_fits(*, job: Job, number: int, now: datetime) -> None:
    """Raise LimitExceeded if so many jobs like this one are too many; take nothing."""
    if quota_counts.is_limited(job.tenant):
        seconds = estimate_seconds(job.duration_seconds) * number
        _hold(job.tenant, number=number, seconds=seconds, now=now)


def _hold(
    tenant: Tenant, *, number: int, seconds: Decimal, now: datetime
) -> dict[str, QuotaCounter]:
    """Lock the tenant's counters, or raise LimitExceeded."""
    periods = periods_at(now)
    counters = _lock(tenant, periods)
    for period in periods:
        asked = Decimal(number) if period.is_open_jobs else seconds
        _check(tenant, period, counters[period.name], asked=asked, now=now)
    return counters


def settle(jobs: Iterable[Job]) -> None:
    """Give back what jobs that have just ended reserved, and count what they used.

    To be called in the transaction that ends them, once their calls are closed.
    """
    held = [job for job in jobs if job.reserved_seconds is not None]
    if not held:
        return
    spent = _sum_ledger(held)
    changes: dict[tuple[UUID, str], _Change] = defaultdict(_Change)
    for job in held:
        for period in periods_at(job.created_at):
            change = changes[job.tenant_id, period.name]
            if period.is_open_jobs:
                change.reserved -= 1
            else:
                change.reserved -= job.reserved_seconds or 0
                change.used += spent.get(job.pk, Decimal(0))
    _apply(changes)


def count_late(attempt: Attempt) -> None:
    """Count what a call turned out to have transcribed after its job had ended.

    To be called in the transaction that closes the call. While the job is open, this
    does nothing: its end will count all its calls.
    """
    job = Job.objects.select_for_update(no_key=True).get(pk=attempt.job_id)
    if not job.is_final:
        return
    (seconds,) = Attempt.objects.filter(pk=attempt.pk).values_list(
        LedgerSeconds("audio_seconds"), flat=True
    )
    _apply(
        {
            (job.tenant_id, period.name): _Change(used=seconds)
            for period in periods_at(job.created_at)
            if seconds and not period.is_open_jobs
        }
    )


def _lock(tenant: Tenant, periods: Sequence[QuotaPeriod]) -> dict[str, QuotaCounter]:
    """Lock the tenant's counters, made from the rows where there is none yet."""
    counters = QuotaCounter.objects.select_for_update(no_key=True).filter(
        tenant=tenant, period__in=[period.name for period in periods]
    )
    found = {each.period: each for each in counters.order_by("period")}
    if len(found) == len(periods):
        return found
    quota_counts.open_counters(tenant, periods=periods)
    return {each.period: each for each in counters.order_by("period")}


def _check(
    tenant: Tenant,
    period: QuotaPeriod,
    counter: QuotaCounter,
    *,
    asked: Decimal,
    now: datetime,
) -> None:
    limit: int | None = getattr(tenant, period.limit_field)
    if limit is None or counter.used + counter.reserved + asked <= limit:
        return
    left = max(Decimal(0), limit - counter.used - counter.reserved)
    raise LimitExceeded(
        f"Your account may have {limit} {_WHAT[period.limit_field]};"
        f" {left.normalize():f} are left, and this takes {asked.normalize():f}.",
        code="quota_jobs_exceeded" if period.is_open_jobs else "quota_audio_exceeded",
        # What is more than the whole limit will never fit.
        retry_after=period.seconds_left(now) if asked <= limit else 0,
    )


def _sum_ledger(jobs: Sequence[Job]) -> Mapping[UUID, Decimal]:
    """Return the seconds that the calls of each job transcribed."""
    calls = Attempt.objects.filter(
        job__in=[job.pk for job in jobs], audio_seconds__isnull=False
    )
    sums = calls.values("job_id").annotate(seconds=Sum(LedgerSeconds("audio_seconds")))
    return dict(sums.values_list("job_id", "seconds"))


def _apply(changes: Mapping[tuple[UUID, str], _Change]) -> None:
    """Add to the counters there are, each tenant's in one order."""
    rows: Any = [
        (tenant, period, change.used, change.reserved)
        for (tenant, period), change in changes.items()
    ]
    if rows:
        with transaction.atomic(savepoint=False), connection.cursor() as cursor:
            cursor.execute(_APPLY, [list(column) for column in zip(*rows, strict=True)])
