"""How regions do: the operator's will, permits in use, breakers. Takes no trial.

What Redis would say is None while it is away; what the rows say is there anyway.
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
    """A region's row, and its two ledgers; ``None``: its Redis does not answer."""

    region: Region
    prerecorded: PermitUsage | None
    streams: PermitUsage | None
    # "closed", "open" or "trying"; "" unknown.
    breaker: str

    def state(self, *, now: datetime) -> str:
        """Say in a word how it is; the operator's will comes first."""
        row, ledger = self.region, self.prerecorded
        is_paused = row.paused_until is not None and row.paused_until > now
        signs = (
            not row.is_enabled,
            row.is_drained,
            is_paused,
            ledger is None,
            self.breaker not in {"closed", ""},
            ledger is not None and ledger.cooldown_ms > 0,
            row.is_pinned,
            True,
        )
        return next(compress(STATES, signs))


def read_regions(*, permits: RedisPermits) -> list[RegionStatistics]:
    """Look at all regions, in the order of their names."""
    away: set[str] = set()
    return [_look(each, permits, away) for each in Region.objects.order_by("name")]


def _look(region: Region, permits: RedisPermits, away: set[str]) -> RegionStatistics:
    """Ask its Redis, unless it kept a region before this one waiting in vain."""
    address = settings.REGION_REDIS_URLS.get(region.name, settings.REDIS_URL)
    if address not in away:
        try:
            return RegionStatistics(
                region=region,
                prerecorded=permits.read_usage(
                    region.name, kind=PermitKind.PRERECORDED
                ),
                streams=permits.read_usage(region.name, kind=PermitKind.STREAM),
                breaker=permits.breaker.read_state(region.name),
            )
        except redis.RedisError:
            away.add(address)
    return RegionStatistics(region=region, prerecorded=None, streams=None, breaker="")
