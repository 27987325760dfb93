"""Quotas: reserved when a job is submitted, settled when it ends.

A job counts in the UTC day and month of its submit, by the duration of its audio; the
number of channels does not matter. Counters are locked last, after all job rows, and
in a fixed order, to avoid deadlocks. A tenant without limits costs no query.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from jobs.quotas import counters as quota_counters
from jobs.quotas.counters import LedgerSeconds
from jobs.quotas.periods import OPEN_NAME, QuotaPeriod, periods_at

_MAX_SECONDS = Decimal(100_000_000)  # three years; fits the column
_MILLISECOND = Decimal("0.001")

_LIMIT_NAMES = {
    "max_open_jobs": "open jobs",
    "audio_seconds_per_day": "seconds of audio per day",
    "audio_seconds_per_month": "seconds of audio per month",
}

_UPDATE_COUNTERS = """
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


@contextmanager
def reserving(jobs: Sequence[Job], *, now: datetime) -> Iterator[None]:
    """Reserve the quota of new jobs, which the block inserts, as ``reserve`` does.

    Without limits there is no transaction: the block's statement is one by itself.
    """
    if not quota_counters.is_limited(jobs[0].tenant):
        yield
        return
    with transaction.atomic():
        reserve(jobs=jobs, now=now)
        yield


def reserve(*, jobs: Sequence[Job], now: datetime) -> None:
    """Reserve the quota of new jobs of one tenant, for all of them or none.

    Call it in the transaction that inserts them, with their ``created_at``; it sets
    ``reserved_seconds`` of each. Raises LimitExceeded.
    """
    tenant = jobs[0].tenant
    if not quota_counters.is_limited(tenant):
        return
    for job in jobs:
        job.reserved_seconds = estimate_seconds(job.exact_duration_seconds)
    seconds = sum((job.reserved_seconds or Decimal(0) for job in jobs), Decimal(0))
    counters = _lock_and_check(tenant, number=len(jobs), seconds=seconds, now=now)
    QuotaCounter.objects.filter(pk__in=[each.pk for each in counters.values()]).update(
        reserved=F("reserved")
        + Case(
            When(period=OPEN_NAME, then=Value(len(jobs))),
            default=Value(seconds),
            output_field=DecimalField(),
        )
    )


def estimate_seconds(duration: float | None) -> Decimal:
    """Return the seconds to reserve; a default for an unknown duration."""
    if duration is None:
        return Decimal(settings.DEFAULT_RESERVE_SECONDS)
    return min(Decimal(str(duration)), _MAX_SECONDS).quantize(_MILLISECOND)


def check_fits(*, job: Job, number: int, now: datetime) -> None:
    """Raise LimitExceeded if ``number`` such jobs exceed a quota; reserve nothing."""
    if quota_counters.is_limited(job.tenant):
        seconds = estimate_seconds(job.exact_duration_seconds) * number
        _lock_and_check(job.tenant, number=number, seconds=seconds, now=now)


def _lock_and_check(
    tenant: Tenant, *, number: int, seconds: Decimal, now: datetime
) -> dict[str, QuotaCounter]:
    """Lock the tenant's counters; raise LimitExceeded if a quota is exceeded."""
    periods = periods_at(now)
    counters = _lock(tenant, periods)
    for period in periods:
        amount = Decimal(number) if period.is_open_jobs else seconds
        _check(tenant, period, counters[period.name], amount=amount, now=now)
    return counters


def settle(jobs: Iterable[Job]) -> None:
    """Release the reservations of jobs that ended and count their audio as used.

    Call it in the transaction that ends them, after their attempts are closed.
    """
    reserved = [job for job in jobs if job.reserved_seconds is not None]
    if not reserved:
        return
    used = _sum_audio_seconds(reserved)
    changes: dict[tuple[UUID, str], _Change] = defaultdict(_Change)
    for job in reserved:
        for period in periods_at(job.created_at):
            change = changes[job.tenant_id, period.name]
            if period.is_open_jobs:
                change.reserved -= 1
            else:
                change.reserved -= job.reserved_seconds or 0
                change.used += used.get(job.pk, Decimal(0))
    _update_counters(changes)


def count_late(attempt: Attempt) -> None:
    """Count the audio of a call that is closed after its job ended.

    Call it in the transaction that closes the attempt. Does nothing while the job is
    open: its end counts all its attempts.
    """
    job = Job.objects.select_for_update(no_key=True).get(pk=attempt.job_id)
    if not job.is_final:
        return
    (seconds,) = Attempt.objects.filter(pk=attempt.pk).values_list(
        LedgerSeconds("audio_seconds"), flat=True
    )
    _update_counters(
        {
            (job.tenant_id, period.name): _Change(used=seconds)
            for period in periods_at(job.created_at)
            if seconds and not period.is_open_jobs
        }
    )


def _lock(tenant: Tenant, periods: Sequence[QuotaPeriod]) -> dict[str, QuotaCounter]:
    """Lock the tenant's counters; create missing ones from the rows."""
    counters = QuotaCounter.objects.select_for_update(no_key=True).filter(
        tenant=tenant, period__in=[period.name for period in periods]
    )
    found = {each.period: each for each in counters.order_by("period")}
    if len(found) == len(periods):
        return found
    quota_counters.open_counters(tenant, periods=periods)
    return {each.period: each for each in counters.order_by("period")}


def _check(
    tenant: Tenant,
    period: QuotaPeriod,
    counter: QuotaCounter,
    *,
    amount: Decimal,
    now: datetime,
) -> None:
    limit: int | None = getattr(tenant, period.limit_field)
    if limit is None or counter.used + counter.reserved + amount <= limit:
        return
    remaining = max(Decimal(0), limit - counter.used - counter.reserved)
    raise LimitExceeded(
        f"Your account is limited to {limit} {_LIMIT_NAMES[period.limit_field]};"
        f" {remaining.normalize():f} remain, this request needs"
        f" {amount.normalize():f}.",
        code="quota_jobs_exceeded" if period.is_open_jobs else "quota_audio_exceeded",
        # An amount above the whole limit never fits.
        retry_after=period.seconds_left(now) if amount <= limit else 0,
    )


def _sum_audio_seconds(jobs: Sequence[Job]) -> Mapping[UUID, Decimal]:
    """Return the seconds of audio that the calls of each job transcribed."""
    calls = Attempt.objects.filter(
        job__in=[job.pk for job in jobs], audio_seconds__isnull=False
    )
    sums = calls.values("job_id").annotate(seconds=Sum(LedgerSeconds("audio_seconds")))
    return dict(sums.values_list("job_id", "seconds"))


def _update_counters(changes: Mapping[tuple[UUID, str], _Change]) -> None:
    """Add changes to existing counters, which are locked in a fixed order."""
    rows: Any = [
        (tenant, period, change.used, change.reserved)
        for (tenant, period), change in changes.items()
    ]
    if rows:
        with transaction.atomic(savepoint=False), connection.cursor() as cursor:
            cursor.execute(
                _UPDATE_COUNTERS, [list(column) for column in zip(*rows, strict=True)]
            )
