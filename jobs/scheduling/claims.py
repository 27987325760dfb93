"""Which jobs run next, and where: the claim and the room for it.

Tenants by weighted share of what is in flight, then priority, then age. What cannot run
(another region's lane, a paused tenant, a later ``run_at``) is never looked at, so a
claim costs the same whatever the backlog is.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import compress
from typing import Protocol
from uuid import UUID

from django.db import connection
from django.db.models import F, Q

from jobs import services
from jobs.models import Job, Mode, Region
from jobs.routing import routing_keys
from jobs.scheduling.capacity import CapacitySnapshot, read_capacity
from jobs.scheduling.fairness import RoundRobin, TenantLoad, next_tenants
from jobs.state import JobStatus

# Before a tenant's id: the pool of its streams in a region.
TENANT_POOL = "tenant:"
MAX_CLAIM = 500  # a tick stays short however much room there is
_rota = RoundRobin()

# A loose index scan: as many index probes as there are lanes with work.
_LANES = """
WITH RECURSIVE lanes AS (
  (SELECT lane FROM jobs_job WHERE status = 'queued' AND ready
   ORDER BY lane LIMIT 1)
  UNION ALL
  SELECT (SELECT lane FROM jobs_job WHERE status = 'queued' AND ready
          AND lane > lanes.lane ORDER BY lane LIMIT 1)
  FROM lanes WHERE lanes.lane IS NOT NULL
) SELECT lane FROM lanes WHERE lane IS NOT NULL
"""
# The same over the tenants with work in each served lane: who has none costs nothing.
_TENANTS = """
WITH RECURSIVE waiting AS (
  SELECT served.lane, (
    SELECT tenant_id FROM jobs_job
    WHERE lane = served.lane AND status = 'queued' AND ready
    ORDER BY tenant_id LIMIT 1) AS tenant
  FROM unnest(%s::text[]) AS served (lane)
  UNION ALL
  SELECT waiting.lane, (
    SELECT tenant_id FROM jobs_job
    WHERE lane = waiting.lane AND tenant_id > waiting.tenant
    AND status = 'queued' AND ready
    ORDER BY tenant_id LIMIT 1)
  FROM waiting WHERE waiting.tenant IS NOT NULL
) SELECT id, weight, max_in_flight FROM jobs_tenant
WHERE NOT is_paused AND id IN (SELECT tenant FROM waiting)
"""
# The first jobs of each tenant in each lane, straight off the claim index, and locked.
_HEADS = """
SELECT head.tenant_id, head.id, head.lease_token, head.lane
FROM unnest(%s::uuid[], %s::int[]) AS share (tenant, places),
     unnest(%s::text[]) AS served (lane),
     LATERAL (
       SELECT id, tenant_id, priority, lease_token, lane FROM jobs_job
       WHERE tenant_id = share.tenant AND lane = served.lane
       AND status = 'queued' AND ready
       ORDER BY priority, id LIMIT share.places
       FOR NO KEY UPDATE SKIP LOCKED
     ) head
ORDER BY head.priority, head.id
"""


class PermitKind(StrEnum):
    """Which of the upstream's limits a call counts against."""

    PRERECORDED = "prerecorded"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to call, by name: one claim of one job, and the narrow pools it needs."""

    member: str
    pools: tuple[str, ...] = ()
    kind: PermitKind = PermitKind.PRERECORDED
    # Of a stream that is asked for: whose it is, and how many of the region's places
    # that tenant may hold. Its pool is its tenant's.
    tenant: UUID | None = field(default=None, compare=False)
    share: int | None = field(default=None, compare=False)


class Permits(Protocol):
    """The upstream's limits as one ledger: places, narrow pools, a sliding minute."""

    def find_room(
        self, region: Region, *, at_door: bool = False, permit: Permit | None = None
    ) -> dict[str, int]:
        """Return free places in all (key "") and in each pool; {} when it is away.

        The places are those of the permit's kind, and its tenant's share is a pool.
        Whoever is not at a door leaves some to those who said that they wait there.
        """

    def want(self, region: Region, permit: Permit) -> None:
        """Say that somebody waits at a door for a place, for the next two seconds.

        Of a stream: that its tenant was refused one, for the next 15 seconds.
        """

    def acquire(
        self, region: Region, permits: Sequence[Permit], *, at_door: bool = False
    ) -> list[bool]:
        """Grant in order while there is room; all False when the ledger is away."""

    def renew(self, region: str, permits: Iterable[Permit]) -> None:
        """Hold these places, whatever room there is: running calls are facts."""

    def release(self, region: str, permits: Iterable[Permit]) -> None:
        """Give places back; unknown ones are ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A locked row whose turn it is, and the permit that its claim would hold."""

    job: UUID
    permit: Permit


def build_permit(job: UUID, lease_token: int, lane: str) -> Permit:
    """Return the permit of one claim of one job."""
    return Permit(
        member=f"{job}.{lease_token}", pools=tuple(routing_keys.pools_of(lane))
    )


def permit_of(job: Job) -> Permit:
    """Return the permit that the present claim of this job holds."""
    return _permit_of_claim(job, job.lease_token)


def next_permit_of(job: Job) -> Permit:
    """Return the permit that the next claim of this job would hold."""
    return _permit_of_claim(job, job.lease_token + 1)


def _permit_of_claim(job: Job, lease_token: int) -> Permit:
    if job.mode == Mode.LIVE:  # the narrow pools are those of prerecorded calls
        return Permit(
            member=f"{job.pk}.{lease_token}",
            pools=(f"{TENANT_POOL}{job.tenant_id}",),
            kind=PermitKind.STREAM,
        )
    return build_permit(job.pk, lease_token, job.lane)


def share_of(places: int, *, max_in_flight: int | None) -> int:
    """Return how many of so many places for streams one tenant may hold. Pure.

    Half of them, or what its ``max_in_flight`` says.
    """
    if max_in_flight is None:
        return max(1, places // 2)
    return min(max_in_flight, places)


def claim_all(
    *, permits: Permits, now: datetime, only_region: str | None = None
) -> Iterator[list[Job]]:
    """Claim what can run now, region by region, the least loaded first."""
    snapshot = read_capacity(now=now)
    regions = find_open_regions(snapshot, now=now)
    pinned = [region.name for region in regions if region.is_pinned]
    for region in regions:
        if only_region in {None, region.name}:
            claimed = claim(
                region=region,
                pinned=pinned,
                snapshot=snapshot,
                permits=permits,
                now=now,
            )
            snapshot.add(claimed)
            yield claimed


def find_open_regions(
    snapshot: CapacitySnapshot, *, now: datetime, live: bool = False
) -> list[Region]:
    """Return the regions open for work, the least loaded for its weight first."""
    rows = Region.objects.filter(is_enabled=True, is_drained=False)
    rows = rows.filter(Q(paused_until=None) | Q(paused_until__lte=now))
    return sorted(
        rows, key=lambda r: (snapshot.count_in(r, live=live) / r.weight, r.name)
    )


def claim(
    *,
    region: Region,
    pinned: Collection[str],
    snapshot: CapacitySnapshot,
    permits: Permits,
    now: datetime,
) -> list[Job]:
    """Claim for one region as many jobs as have room there."""
    places = min(
        MAX_CLAIM,
        snapshot.free_threads(region),
        # The rows are a second wall: places that Redis forgot while it was away are
        # still taken here.
        region.max_concurrent - snapshot.count_in(region),
    )
    room = permits.find_room(region) if places > 0 else {}
    places = min(places, room.get("", 0))
    if places <= 0:
        return []
    served = [
        lane
        for lane in _find_lanes()
        if routing_keys.may_run(lane, region.name, pinned=pinned)
        and all(room.get(pool, places) > 0 for pool in routing_keys.pools_of(lane))
    ]
    picked = _pick(served, places=places, in_flight=snapshot.by_tenant())
    return _take(picked, region=region, permits=permits, now=now)


def _find_lanes() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_LANES)
        return [lane for (lane,) in cursor.fetchall()]


def _pick(
    served: list[str], *, places: int, in_flight: Mapping[UUID, int]
) -> list[Candidate]:
    """Lock the jobs whose turn it is; return them in the order of the turns."""
    turns = (
        next_tenants(_find_loads(served, in_flight), places=places) if served else []
    )
    if not turns:
        return []
    wanted = Counter(turns)
    heads: dict[UUID, deque[Candidate]] = defaultdict(deque)
    with connection.cursor() as cursor:
        cursor.execute(_HEADS, [list(wanted), list(wanted.values()), served])
        for tenant, job, lease_token, lane in cursor.fetchall():
            permit = build_permit(job, lease_token + 1, lane)
            heads[tenant].append(Candidate(job=job, permit=permit))
    return [heads[tenant].popleft() for tenant in turns if heads[tenant]]


def _find_loads(served: list[str], in_flight: Mapping[UUID, int]) -> list[TenantLoad]:
    """Return the tenants with work in these lanes and what they have in flight."""
    with connection.cursor() as cursor:
        cursor.execute(_TENANTS, [served])
        return [
            TenantLoad(
                tenant=tenant,
                weight=weight,
                in_flight=in_flight.get(tenant, 0),
                max_in_flight=limit,
                last_turn=_rota.last_turn_of(tenant),
            )
            for tenant, weight, limit in cursor.fetchall()
        ]


def _take(
    picked: list[Candidate], *, region: Region, permits: Permits, now: datetime
) -> list[Job]:
    """Take permits for locked rows and move those that got one."""
    asked = [candidate.permit for candidate in picked]
    granted = list(compress(picked, permits.acquire(region, asked))) if picked else []
    if not granted:
        return []
    turn = {candidate.job: number for number, candidate in enumerate(granted)}
    try:
        taken = services.advance(
            Job.objects.filter(pk__in=turn),
            to=JobStatus.PROCESSING,
            at=now,
            region=region,
            lease_token=F("lease_token") + 1,
            lease_until=now + services.lease_time(),
            run_at=None,
        )
    except BaseException:
        permits.release(region.name, [candidate.permit for candidate in granted])
        raise
    taken.sort(key=lambda job: turn[job.pk])
    _rota.note(job.tenant_id for job in taken)
    return taken
