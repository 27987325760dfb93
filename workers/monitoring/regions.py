"""State of the regions: operator settings, permits in use, circuit breakers.

Read-only: makes no trial call of a half-open breaker. Values from Redis are None while
it is unavailable.
"""

from dataclasses import dataclass
from datetime import datetime
from itertools import compress

import redis
from django.conf import settings

from jobs.models import Region
from jobs.scheduling.claims import PermitKind
from workers.ratelimit.permits import PermitUsage, RedisPermits

STATES = (
    *("disabled", "drained", "paused", "unknown"),
    *("breaker open", "cooling down", "pinned", "well"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionStatistics:
    """A region and its permit usage, None if its Redis does not respond."""

    region: Region
    prerecorded: PermitUsage | None
    streams: PermitUsage | None
    # "closed", "open" or "trying"; "" if unknown.
    breaker: str
    # Whether its Redis accepts writes; not if its memory is exhausted.
    is_writable: bool = True

    def state(self, *, now: datetime) -> str:
        """Return one of ``STATES``; operator settings have priority."""
        row, usage = self.region, self.prerecorded
        is_paused = row.paused_until is not None and row.paused_until > now
        conditions = (
            not row.is_enabled,
            row.is_drained,
            is_paused,
            usage is None,
            self.breaker not in {"closed", ""},
            usage is not None and usage.cooldown_ms > 0,
            row.is_pinned,
            True,
        )
        return next(compress(STATES, conditions))


def read_regions(*, permits: RedisPermits) -> list[RegionStatistics]:
    """Return all regions, ordered by name."""
    unavailable: set[str] = set()
    rows = Region.objects.order_by("name")
    return [_read_region(region, permits, unavailable) for region in rows]


def _read_region(
    region: Region, permits: RedisPermits, unavailable: set[str]
) -> RegionStatistics:
    """Read a region's Redis, unless it timed out for another region before."""
    address = settings.REGION_REDIS_URLS.get(region.name, settings.REDIS_URL)
    if address not in unavailable:
        try:
            return RegionStatistics(
                region=region,
                prerecorded=permits.read_usage(
                    region.name, kind=PermitKind.PRERECORDED
                ),
                streams=permits.read_usage(region.name, kind=PermitKind.STREAM),
                breaker=permits.breaker.read_state(region.name),
                is_writable=permits.is_writable(region.name),
            )
        except redis.RedisError:
            unavailable.add(address)
    return RegionStatistics(
        region=region, prerecorded=None, streams=None, breaker="", is_writable=False
    )
