"""Permits: the upstream's limits as two ledgers a region, in Redis.

A prerecorded call's permit is a place among ``max_concurrent`` (a lease that ends with
its holder), one of ``max_per_minute`` (a sliding minute), and a place in each narrow
pool it needs. A live session's is a place among ``max_streams``, which are counted
apart. Redis away means nothing is granted. A ledger that finds itself empty is filled
from the rows that are the truth, the jobs in hand and the last minute's attempts,
before it grants.
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import redis
from django.conf import settings
from django.db.models.functions import Now
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.models import Attempt, Job, Mode, Region
from jobs.routing import routing_keys
from jobs.scheduling.claims import TENANT_POOL, Permit, PermitKind, permit_of
from jobs.state import JobStatus
from workers.ratelimit.breaker import CircuitBreaker

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("permits.lua").read_text()
_UNSEEDED = [-1]
# Redis may be asked this long; a dispatcher that waits longer is of no use.
TIMEOUT_SECONDS = 2
LOOK_SECONDS = 0.3
WANT_MS = 2000
# A refused stream: its caller comes again after a Retry-After of 5 s.
REFUSED_MS = 15_000
MINUTE = timedelta(seconds=61.5)  # as long as the script has it
_POOLS = list(routing_keys.POOLS)
_NO_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitUsage:
    """A ledger as it is; ``in_minute``: calls that began in the last minute."""

    held: int
    in_minute: int
    cooldown_ms: int


class RedisPermits:
    """The ledgers of all regions; implements ``jobs.scheduling.claims.Permits``.

    Permits that are handed over together are of one kind.
    """

    def __init__(
        self, client: "redis.Redis", *, own: "Mapping[str, redis.Redis] | None" = None
    ) -> None:
        """``own`` are the clients of regions that have a Redis of their own."""
        self._script = client.register_script(_SCRIPT)
        self._client = client
        self._own = own or {}
        self.breaker = CircuitBreaker(client, own=self._own)

    def find_room(
        self, region: Region, *, direct: bool = False, permit: Permit | None = None
    ) -> dict[str, int]:
        """Return free places in all (key "") and in each pool; {} when it is away.

        No more than the region's circuit breaker lets through.
        """
        asked = [permit] if permit else []
        try:
            rooms = self._ask_seeded(region, "find_room", asked, direct=direct)
            allowed = self.breaker.allow(region.name) if rooms[0] else 0
        except redis.RedisError:
            logger.warning("permit ledger away", extra={"region": region.name})
            return {}
        pools = dict(zip(_limits_of_pools(region, asked), rooms[1:], strict=False))
        return {"": min(rooms[0], allowed), **pools}

    def register_waiter(self, region: Region, permit: Permit) -> None:
        """Say that somebody waits at a door for a place, for the next two seconds.

        Of a stream: that its tenant was refused one, for the next 15 seconds.
        """
        want_ms = WANT_MS
        if permit.kind == PermitKind.STREAM:
            permit = Permit(member=_refused_member(permit), kind=permit.kind)
            want_ms = REFUSED_MS
        with suppress(redis.RedisError):
            self._ask(
                region.name,
                "want",
                kind=permit.kind,
                permits=[permit],
                want_ms=want_ms,
            )

    def find_refused(self, region: str) -> set[UUID]:
        """Return the tenants that were lately refused a stream in a full region.

        Raises redis.RedisError.
        """
        wanted = f"{_base_of(region, PermitKind.STREAM)}:wanted"
        now = int(time.time() * 1000)
        client = self._own.get(region, self._client)
        found = cast("list[bytes]", client.zrangebyscore(wanted, now, "+inf"))
        return {UUID(each.decode().removeprefix(TENANT_POOL)) for each in found}

    def acquire(
        self, region: Region, permits: Sequence[Permit], *, direct: bool = False
    ) -> list[bool]:
        """Grant in order while there is room; all False when the ledger is away."""
        try:
            granted = self._ask_seeded(region, "acquire", permits, direct=direct)
        except redis.RedisError:
            logger.warning("permit ledger away", extra={"region": region.name})
            return [False] * len(permits)
        return [grant == 1 for grant in granted]

    def begin(self, region: str, permit: Permit) -> None:
        """Say that the call begins now; without Redis the grant's time stands."""
        try:
            self._ask(region, "begin", kind=permit.kind, permits=[permit])
        except redis.RedisError:
            logger.warning("call not stamped", extra={"region": region})

    def renew(self, region: str, permits: Iterable[Permit]) -> None:
        """Extend the places of running calls; register them again if forgotten.

        Raises redis.RedisError.
        """
        for kind, those in _by_kind(permits):
            self._ask(region, "renew", kind=kind, permits=those)

    def release(self, region: str, permits: Iterable[Permit]) -> None:
        """Give places back at once; a place that cannot be given back expires."""
        try:
            for kind, those in _by_kind(permits):
                self._ask(region, "release", kind=kind, permits=those)
        except redis.RedisError:
            logger.warning("permit not released", extra={"region": region})

    def cool_down(
        self, region: str, *, seconds: float, kind: PermitKind = PermitKind.PRERECORDED
    ) -> None:
        """Grant nothing for a while, to anybody: the upstream said 429."""
        cooldown_ms = int(seconds * 1000)
        try:
            self._ask(region, "cool_down", kind=kind, cooldown_ms=cooldown_ms)
        except redis.RedisError:
            logger.warning("cooldown not shared", extra={"region": region})

    def look(self, region: str, *, kind: PermitKind) -> PermitUsage:
        """Return how a region's ledger is, and leave it so. Raises redis.RedisError."""
        base = _base_of(region, kind)
        pipe = self._own.get(region, self._client).pipeline(transaction=False)
        now = int(time.time() * 1000)
        pipe.zcount(f"{base}:held", now, "+inf")
        pipe.zcount(f"{base}:window", now - int(MINUTE.total_seconds() * 1000), "+inf")
        pipe.pttl(f"{base}:cooldown")
        held, in_minute, cooldown = pipe.execute()
        return PermitUsage(held=held, in_minute=in_minute, cooldown_ms=max(0, cooldown))

    def _ask_seeded(
        self,
        region: Region,
        verb: str,
        permits: Sequence[Permit],
        *,
        direct: bool,
    ) -> list[int]:
        """Ask about a region with its limits; fill the ledger first if it is empty."""
        kind = permits[0].kind if permits else PermitKind.PRERECORDED
        limits = _limits_of_pools(region, permits)
        names = list(limits)
        asked = {
            "kind": kind,
            "permits": list(permits),
            **_limits_of(region, kind, direct=direct),
            "pools": list(limits.values()),
        }
        if kind == PermitKind.STREAM:  # its tenant is not refused any more
            asked["refused"] = _refused_member(permits[0])
        answer = self._ask(region.name, verb, names, **asked)
        if answer == _UNSEEDED:
            self._seed(region, kind)
            answer = self._ask(region.name, verb, names, **asked)
        return list(answer)

    def _ask(
        self,
        region: str,
        verb: str,
        names: Sequence[str] | None = None,
        *,
        kind: PermitKind,
        permits: Sequence[Permit] = (),
        **fields: Any,
    ) -> Any:
        base = _base_of(region, kind)
        if names is None:
            names = _POOLS if kind == PermitKind.PRERECORDED else _tenants_of(permits)
        parts = ["held", "window", "epoch", "cooldown", "counts", "wanted", *names]
        places = {pool: number for number, pool in enumerate(names, start=1)}
        asked = {
            "lease_ms": int(settings.LEASE_SECONDS * 1000),
            "permits": [
                [each.member, *(places[pool] for pool in each.pools if pool in places)]
                for each in permits
            ],
            **fields,
        }
        return self._script(
            keys=[f"{base}:{part}" for part in parts],
            args=[verb, json.dumps(asked)],
            client=self._own.get(region, self._client),
        )

    def _seed(self, region: Region, kind: PermitKind) -> None:
        """Fill an empty ledger from the rows; whoever comes second changes nothing."""
        is_live = kind == PermitKind.STREAM
        in_hand = [
            job
            for job in Job.objects.filter(
                status=JobStatus.PROCESSING, region=region
            ).only("pk", "lease_token", "lane", "started_at", "mode")
            if (job.mode == Mode.LIVE) == is_live
        ]
        ages = [] if is_live else _read_ages(region)
        # A call that is about to begin is as good as one of this moment.
        ages += [0 for job in in_hand if job.started_at is None]
        held = [permit_of(job) for job in in_hand]
        logger.warning(
            "permit ledger filled from rows",
            extra={
                "region": region.name,
                "kind": str(kind),
                "held": len(held),
                "recent": len(ages),
            },
        )
        self._ask(region.name, "seed", kind=kind, permits=held, ages=ages)


def _base_of(region: str, kind: PermitKind) -> str:
    return f"permits:{{{region}:{kind}}}"


def _limits_of(region: Region, kind: PermitKind, *, direct: bool) -> dict[str, Any]:
    if kind == PermitKind.STREAM:
        return {
            "yields": 0,  # no queue waits for these places
            "max_concurrent": region.max_streams,
            "max_per_minute": _NO_LIMIT,
        }
    # At least one, or a door would wait for ever in front of a long queue.
    share = max(1, int(region.max_concurrent * settings.SYNC_SHARE))
    return {
        "yields": 0 if direct else share,
        "max_concurrent": region.max_concurrent,
        "max_per_minute": region.max_per_minute,
    }


def _limits_of_pools(region: Region, permits: Sequence[Permit]) -> dict[str, int]:
    """Return the narrow pools that are limited: a region's own, or tenants' shares."""
    if not permits or permits[0].kind == PermitKind.PRERECORDED:
        return dict(region.pools)
    return {
        pool: _NO_LIMIT if permit.share is None else permit.share
        for permit in permits
        for pool in permit.pools
    }


def _refused_member(permit: Permit) -> str:
    """Return what marks a tenant that was refused a stream: the name of its pool."""
    return "".join(permit.pools)


def _tenants_of(permits: Sequence[Permit]) -> list[str]:
    return sorted({pool for permit in permits for pool in permit.pools})


def _by_kind(permits: Iterable[Permit]) -> Iterable[tuple[PermitKind, list[Permit]]]:
    kinds: dict[PermitKind, list[Permit]] = defaultdict(list)
    for permit in permits:
        kinds[permit.kind].append(permit)
    return kinds.items()


def _read_ages(region: Region) -> list[int]:
    """Return how many milliseconds ago each call of the last minute began."""
    recent = (
        Attempt.objects.filter(region=region, started_at__gte=Now() - MINUTE)
        .exclude(job__mode=Mode.LIVE)
        .annotate(asked_at=Now())
    )
    return [
        max(0, int((asked_at - started_at).total_seconds() * 1000))
        for started_at, asked_at in recent.values_list("started_at", "asked_at")
    ]


@cache
def get_permits() -> RedisPermits:
    """Return this process's door to the ledger."""
    return _build_permits(socket_timeout=TIMEOUT_SECONDS)


@cache
def get_lookout() -> RedisPermits:
    """Return the ledger for whoever only looks, and rather sees nothing than waits."""
    once_more = Retry(NoBackoff(), 1)
    return _build_permits(socket_timeout=LOOK_SECONDS, retry=once_more)


def _build_permits(*, socket_timeout: float, **how: Any) -> RedisPermits:
    def connect(url: str) -> "redis.Redis":
        return redis.Redis.from_url(
            url,
            socket_timeout=socket_timeout,
            socket_connect_timeout=socket_timeout,
            **how,
        )

    own = {name: connect(url) for name, url in settings.REGION_REDIS_URLS.items()}
    return RedisPermits(connect(settings.REDIS_URL), own=own)
