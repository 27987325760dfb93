"""Permits: the upstream's limits as one ledger a region, in Redis.

A permit is a place among ``max_concurrent`` (a lease that ends with its holder) and
one of ``max_per_minute`` (a sliding minute). Redis away means nothing is granted. When
the ledger finds itself empty it is filled again from the rows that are the truth,
the jobs in hand and the last minute's attempts, before anything is granted.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path

import redis
from django.conf import settings
from django.db.models.functions import Now

from jobs.dispatch import permit_of
from jobs.models import Attempt, Job, Region
from jobs.state import JobStatus

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("permits.lua").read_text()
_UNSEEDED = -1
MINUTE = timedelta(minutes=1)


class RedisPermits:
    """The ledger of prerecorded calls; implements ``jobs.dispatch.Permits``."""

    def __init__(self, client: "redis.Redis") -> None:
        self._client = client
        self._script = client.register_script(_SCRIPT)

    def acquire(self, region: Region, members: Sequence[str]) -> int:
        """Grant permits to the first members; return to how many."""
        limits = [region.max_concurrent, region.max_per_minute, self._lease_ms()]
        try:
            granted = self._run(region.name, "acquire", *limits, *members)
            if granted == _UNSEEDED:
                self._seed(region)
                granted = self._run(region.name, "acquire", *limits, *members)
        except redis.RedisError:
            logger.warning("permit ledger away", extra={"region": region.name})
            return 0
        return max(0, granted)

    def renew(self, region: str, members: Iterable[str]) -> None:
        """Extend the places of running calls; register them again if forgotten."""
        self._run(region, "renew", 0, 0, self._lease_ms(), *members)

    def release(self, region: str, members: Iterable[str]) -> None:
        """Give places back at once; a place that cannot be given back expires."""
        try:
            self._run(region, "release", 0, 0, 0, *members)
        except redis.RedisError:
            logger.warning("permit not released", extra={"region": region})

    def _run(self, region: str, *args: str | int) -> int:
        base = f"permits:{{{region}:prerecorded}}"
        keys = [f"{base}:{part}" for part in ("held", "window", "epoch", "cooldown")]
        return int(self._script(keys=keys, args=args))

    def _seed(self, region: Region) -> None:
        """Fill an empty ledger from the rows; whoever comes second changes nothing."""
        in_hand = list(
            Job.objects.filter(status=JobStatus.PROCESSING, region=region).only(
                "pk", "lease_token", "started_at"
            )
        )
        held = [permit_of(job) for job in in_hand]
        recent = Attempt.objects.filter(
            region=region, started_at__gte=Now() - MINUTE
        ).annotate(asked_at=Now())
        ages = [
            _milliseconds(asked_at - started_at)
            for started_at, asked_at in recent.values_list("started_at", "asked_at")
        ]
        logger.warning(
            "permit ledger filled from rows",
            extra={"region": region.name, "held": len(held), "recent": len(ages)},
        )
        # A call that is about to begin is as good as one of this moment.
        ages += [0 for job in in_hand if job.started_at is None]
        lease_ms = self._lease_ms()
        self._run(region.name, "seed", 0, 0, lease_ms, len(held), *held, *ages)

    @staticmethod
    def _lease_ms() -> int:
        return int(settings.LEASE_SECONDS * 1000)


def _milliseconds(age: timedelta) -> int:
    return max(0, int(age.total_seconds() * 1000))


@cache
def get_permits() -> RedisPermits:
    """Return this process's door to the ledger."""
    client = redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2
    )
    return RedisPermits(client)
