"""Permits: Deepgram's limits as two ledgers per region in Redis.

A prerecorded call's permit uses one of ``max_concurrent`` (a lease, which expires with
its holder), one of ``max_per_minute`` (a sliding window), and one of each feature pool
it needs. A live session's permit uses one of ``max_streams``. Without Redis nothing is
granted. An empty ledger is first filled from the database: jobs in flight and the last
minute's attempts.
"""

import json
import logging
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

from jobs.models import NO_RATE_LIMIT, Attempt, Job, Mode, Region
from jobs.routing import routing_keys
from jobs.scheduling.claims import TENANT_POOL, Permit, PermitKind, permit_of
from jobs.state import JobStatus
from workers.ratelimit.breaker import CircuitBreaker, read_clock_ms

logger = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("permits.lua").read_text()
_UNSEEDED = [-1]
# The Redis timeouts of dispatchers and workers, and of read-only monitoring.
TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 0.3
WANT_MS = 2000
# How long a rejected stream's caller counts as waiting: Retry-After is 5 s.
REFUSED_MS = 15_000
MINUTE = timedelta(seconds=61.5)  # the same as in permits.lua
_POOLS = list(routing_keys.POOLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitUsage:
    """The usage of a ledger; ``in_minute``: calls started in the last minute."""

    held: int
    in_minute: int
    cooldown_ms: int


class RedisPermits:
    """The ledgers of all regions; implements ``jobs.scheduling.claims.Permits``.

    The permits of one call must be of the same kind.
    """

    def __init__(
        self, client: "redis.Redis", *, own: "Mapping[str, redis.Redis] | None" = None
    ) -> None:
        """``own``: the clients of regions with their own Redis."""
        self._script = client.register_script(_SCRIPT)
        self._client = client
        self._own = own or {}
        self.breaker = CircuitBreaker(client, own=self._own)

    def find_room(
        self, region: Region, *, direct: bool = False, permit: Permit | None = None
    ) -> dict[str, int]:
        """Return the free permits in total (key "") and per pool; {} without Redis.

        Limited by the region's circuit breaker.
        """
        permits = [permit] if permit else []
        try:
            rooms = self._run_seeded(region, "find_room", permits, direct=direct)
            allowed = self.breaker.allow(region.name) if rooms[0] else 0
        except redis.RedisError:
            logger.warning("permits unavailable", extra={"region": region.name})
            return {}
        pools = dict(zip(_get_pool_limits(region, permits), rooms[1:], strict=False))
        return {"": min(rooms[0], allowed), **pools}

    def register_waiter(self, region: Region, permit: Permit) -> None:
        """Register a waiting synchronous caller; expires after two seconds.

        For a stream: register that its tenant was refused; expires after 15 seconds.
        """
        want_ms = WANT_MS
        if permit.kind == PermitKind.STREAM:
            permit = Permit(member=_refused_member(permit), kind=permit.kind)
            want_ms = REFUSED_MS
        with suppress(redis.RedisError):
            self._run(
                region.name,
                "want",
                kind=permit.kind,
                permits=[permit],
                want_ms=want_ms,
            )

    def find_refused(self, region: str) -> set[UUID]:
        """Return the tenants that were recently refused a stream in a full region.

        Raises redis.RedisError.
        """
        wanted = f"{_key_prefix(region, PermitKind.STREAM)}:wanted"
        client = self._own.get(region, self._client)
        now = read_clock_ms(client)
        found = cast("list[bytes]", client.zrangebyscore(wanted, now, "+inf"))
        return {UUID(each.decode().removeprefix(TENANT_POOL)) for each in found}

    def acquire(
        self, region: Region, permits: Sequence[Permit], *, direct: bool = False
    ) -> list[bool]:
        """Grant permits in order while some are free; all False without Redis."""
        try:
            granted = self._run_seeded(region, "acquire", permits, direct=direct)
        except redis.RedisError:
            logger.warning("permits unavailable", extra={"region": region.name})
            return [False] * len(permits)
        return [grant == 1 for grant in granted]

    def begin(self, region: str, permits: Iterable[Permit]) -> None:
        """Record that calls start now; without Redis, the grants' times stay."""
        try:
            for kind, group in _group_by_kind(permits):
                self._run(region, "begin", kind=kind, permits=group)
        except redis.RedisError:
            logger.warning("call start not recorded", extra={"region": region})

    def renew(self, region: str, permits: Iterable[Permit]) -> None:
        """Extend the permits of running calls; register those missing in Redis again.

        Raises redis.RedisError.
        """
        for kind, group in _group_by_kind(permits):
            self._run(region, "renew", kind=kind, permits=group)

    def release(self, region: str, permits: Iterable[Permit]) -> None:
        """Release permits; without Redis they expire."""
        try:
            for kind, group in _group_by_kind(permits):
                self._run(region, "release", kind=kind, permits=group)
        except redis.RedisError:
            logger.warning("permit not released", extra={"region": region})

    def cool_down(
        self, region: str, *, seconds: float, kind: PermitKind = PermitKind.PRERECORDED
    ) -> None:
        """Grant no permits for ``seconds``, after a 429 from Deepgram."""
        cooldown_ms = int(seconds * 1000)
        try:
            self._run(region, "cool_down", kind=kind, cooldown_ms=cooldown_ms)
        except redis.RedisError:
            logger.warning("cooldown not shared", extra={"region": region})

    def read_usage(self, region: str, *, kind: PermitKind) -> PermitUsage:
        """Return the usage of a region's ledger. Raises redis.RedisError."""
        base = _key_prefix(region, kind)
        client = self._own.get(region, self._client)
        now, pipe = read_clock_ms(client), client.pipeline(transaction=False)
        pipe.zcount(f"{base}:held", now, "+inf")
        pipe.zcount(f"{base}:window", now - int(MINUTE.total_seconds() * 1000), "+inf")
        pipe.pttl(f"{base}:cooldown")
        held, in_minute, cooldown = pipe.execute()
        return PermitUsage(held=held, in_minute=in_minute, cooldown_ms=max(0, cooldown))

    def is_writable(self, region: str) -> bool:
        """Return whether the region's Redis accepts writes. Raises redis.RedisError."""
        return is_writable(self._own.get(region, self._client))

    def _run_seeded(
        self,
        region: Region,
        verb: str,
        permits: Sequence[Permit],
        *,
        direct: bool,
    ) -> list[int]:
        """Run the script with the region's limits; fill an empty ledger first."""
        kind = permits[0].kind if permits else PermitKind.PRERECORDED
        limits = _get_pool_limits(region, permits)
        names = list(limits)
        arguments = {
            "kind": kind,
            "permits": list(permits),
            **_get_limits(region, kind, direct=direct),
            "pools": list(limits.values()),
        }
        if kind == PermitKind.STREAM:  # a grant clears the tenant's rejection
            arguments["refused"] = _refused_member(permits[0])
        result = self._run(region.name, verb, names, **arguments)
        if result == _UNSEEDED:
            self._seed(region, kind)
            result = self._run(region.name, verb, names, **arguments)
        return list(result)

    def _run(
        self,
        region: str,
        verb: str,
        names: Sequence[str] | None = None,
        *,
        kind: PermitKind,
        permits: Sequence[Permit] = (),
        **fields: Any,
    ) -> Any:
        base = _key_prefix(region, kind)
        if names is None:
            names = _POOLS if kind == PermitKind.PRERECORDED else _tenants_of(permits)
        parts = ["held", "window", "epoch", "cooldown", "counts", "wanted", *names]
        indexes = {pool: index for index, pool in enumerate(names, start=1)}
        arguments = {
            "lease_ms": int(settings.LEASE_SECONDS * 1000),
            "permits": [
                [permit.member, *(indexes[it] for it in permit.pools if it in indexes)]
                for permit in permits
            ],
            **fields,
        }
        return self._script(
            keys=[f"{base}:{part}" for part in parts],
            args=[verb, json.dumps(arguments)],
            client=self._own.get(region, self._client),
        )

    def _seed(self, region: Region, kind: PermitKind) -> None:
        """Fill an empty ledger from the database; a second fill changes nothing."""
        is_live = kind == PermitKind.STREAM
        in_flight = [
            job
            for job in Job.objects.filter(
                status=JobStatus.PROCESSING, region=region
            ).only("pk", "lease_token", "lane", "started_at", "mode")
            if (job.mode == Mode.LIVE) == is_live
        ]
        ages = [] if is_live else _read_ages(region)
        # Claimed calls that have not started count as started now.
        ages += [0 for job in in_flight if job.started_at is None]
        held = [permit_of(job) for job in in_flight]
        logger.warning(
            "permit ledger filled from the database",
            extra={
                "region": region.name,
                "kind": str(kind),
                "held": len(held),
                "recent": len(ages),
            },
        )
        self._run(region.name, "seed", kind=kind, permits=held, ages=ages)


def _key_prefix(region: str, kind: PermitKind) -> str:
    return f"permits:{{{region}:{kind}}}"


def _get_limits(region: Region, kind: PermitKind, *, direct: bool) -> dict[str, Any]:
    if kind == PermitKind.STREAM:
        return {
            "yields": 0,  # no queue waits for these permits
            "max_concurrent": region.max_streams,
            "max_per_minute": NO_RATE_LIMIT,
        }
    # At least one, or synchronous requests would wait forever behind a long queue.
    share = max(1, int(region.max_concurrent * settings.SYNC_SHARE))
    return {
        "yields": 0 if direct else share,
        "max_concurrent": region.max_concurrent,
        "max_per_minute": region.max_per_minute,
    }


def _get_pool_limits(region: Region, permits: Sequence[Permit]) -> dict[str, int]:
    """Return the pools and their limits: a region's feature pools, or tenant shares."""
    if not permits or permits[0].kind == PermitKind.PRERECORDED:
        return dict(region.pools)
    return {
        pool: NO_RATE_LIMIT if permit.share is None else permit.share
        for permit in permits
        for pool in permit.pools
    }


def _refused_member(permit: Permit) -> str:
    """Return the member that marks a refused tenant: the name of its pool."""
    return "".join(permit.pools)


def _tenants_of(permits: Sequence[Permit]) -> list[str]:
    return sorted({pool for permit in permits for pool in permit.pools})


def _group_by_kind(
    permits: Iterable[Permit],
) -> Iterable[tuple[PermitKind, list[Permit]]]:
    kinds: dict[PermitKind, list[Permit]] = defaultdict(list)
    for permit in permits:
        kinds[permit.kind].append(permit)
    return kinds.items()


def _read_ages(region: Region) -> list[int]:
    """Return the age in milliseconds of each call of the last minute."""
    recent = (
        Attempt.objects.filter(region=region, started_at__gte=Now() - MINUTE)
        .exclude(job__mode=Mode.LIVE)
        .annotate(now=Now())
    )
    return [
        max(0, int((now - started_at).total_seconds() * 1000))
        for started_at, now in recent.values_list("started_at", "now")
    ]


def is_writable(client: "redis.Redis") -> bool:
    """Return whether a Redis accepts writes. Raises redis.RedisError if it is away.

    It rejects them if its memory or its disk is exhausted, or if it is a replica.
    """
    try:
        client.set("transcribe:health", 1, px=WANT_MS)
    except redis.ResponseError:
        return False
    return True


@cache
def get_permits() -> RedisPermits:
    """Return the process's permits."""
    return _build_permits(socket_timeout=TIMEOUT_SECONDS)


@cache
def get_permit_reader() -> RedisPermits:
    """Return permits with a short timeout, for monitoring."""
    retry_once = Retry(NoBackoff(), 1)
    return _build_permits(socket_timeout=READ_TIMEOUT_SECONDS, retry=retry_once)


def _build_permits(*, socket_timeout: float, **options: Any) -> RedisPermits:
    def connect(url: str) -> "redis.Redis":
        return redis.Redis.from_url(
            url,
            socket_timeout=socket_timeout,
            socket_connect_timeout=socket_timeout,
            **options,
        )

    own = {name: connect(url) for name, url in settings.REGION_REDIS_URLS.items()}
    return RedisPermits(connect(settings.REDIS_URL), own=own)
