"""The periods of quotas: the UTC day and month of the submit. Pure."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

OPEN_NAME = "open"
# Jobs end all the time, so a retry soon succeeds.
OPEN_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaPeriod:
    """A period with a counter; without ``until`` it counts the open jobs."""

    name: str
    limit_field: str
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_open_jobs(self) -> bool:
        """Whether it counts jobs instead of seconds of audio."""
        return self.until is None

    def seconds_left(self, now: datetime) -> int:
        """Return after how many seconds a retry may succeed."""
        if self.until is None:
            return OPEN_RETRY_SECONDS
        return max(1, math.ceil((self.until - now).total_seconds()))


OPEN_JOBS = QuotaPeriod(name=OPEN_NAME, limit_field="max_open_jobs")


def periods_at(moment: datetime) -> tuple[QuotaPeriod, QuotaPeriod, QuotaPeriod]:
    """Return the month and the day of a moment, and the period of open jobs."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    # Day 28 plus four days is always in the next month.
    next_month = (month.replace(day=28) + timedelta(days=4)).replace(day=1)
    return (
        QuotaPeriod(
            name=f"month:{month:%Y-%m}",
            limit_field="audio_seconds_per_month",
            since=month,
            until=next_month,
        ),
        QuotaPeriod(
            name=f"day:{day:%Y-%m-%d}",
            limit_field="audio_seconds_per_day",
            since=day,
            until=day + timedelta(days=1),
        ),
        OPEN_JOBS,
    )
