"""Choose the jobs that run next and their region, and claim them.

The order is by the tenant's weighted share of in-flight jobs, then priority, then age.
Jobs that cannot run now (routing key, paused tenant, later ``run_at``) are not read, so
the cost of a claim does not depend on the backlog.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import compress
from typing import Protocol
from uuid import UUID

from jobs import calls
from jobs.models import Job, Mode, Region, prepared_statements
from jobs.routing import routing_keys
from jobs.scheduling.capacity import (
    CapacitySnapshot,
    is_last_chance,
    read_capacity,
)
from jobs.scheduling.fairness import RoundRobin, TenantLoad, next_tenants
from jobs.scheduling.process_queues import choose_processes

# Prefix of a tenant's id: the pool of its streams in a region.
TENANT_POOL = "tenant:"
MAX_CLAIM = 500  # bounds the duration of a tick
LAST_CHANCE_WAIT_SECONDS = 2.0
_round_robin = RoundRobin()

# A loose index scan: one index probe per routing key (column ``lane``) with work.
# https://wiki.postgresql.org/wiki/Loose_indexscan
_ROUTING_KEYS_WITH_WORK = """
WITH RECURSIVE lanes AS (
  (SELECT lane FROM jobs_job WHERE status = 'queued' AND ready
   ORDER BY lane LIMIT 1)
  UNION ALL
  SELECT (SELECT lane FROM jobs_job WHERE status = 'queued' AND ready
          AND lane > lanes.lane ORDER BY lane LIMIT 1)
  FROM lanes WHERE lanes.lane IS NOT NULL
) SELECT lane FROM lanes WHERE lane IS NOT NULL
"""
# The same over the tenants of each routing key; tenants without work cost nothing.
_TENANTS_WITH_WORK = """
WITH RECURSIVE waiting AS (
  SELECT served.lane, (
    SELECT tenant_id FROM jobs_job
    WHERE lane = served.lane AND status = 'queued' AND ready
    ORDER BY tenant_id LIMIT 1) AS tenant
  FROM unnest($1::text[]) AS served (lane)
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
# Lock the first jobs of each tenant and routing key, in the order of the claim index.
_LOCK_NEXT_JOBS = """
SELECT head.tenant_id, head.id, head.lease_token, head.lane, head.crashes
FROM unnest($1::uuid[], $2::int[]) AS share (tenant, slots),
     unnest($3::text[]) AS served (lane),
     LATERAL (
       SELECT id, tenant_id, priority, lease_token, lane, crashes FROM jobs_job
       WHERE tenant_id = share.tenant AND lane = served.lane
       AND status = 'queued' AND ready
       ORDER BY priority, id LIMIT share.slots
       FOR NO KEY UPDATE SKIP LOCKED
     ) head
ORDER BY head.priority, head.id
"""


class PermitKind(StrEnum):
    """Which of Deepgram's concurrency limits a call counts against."""

    PRERECORDED = "prerecorded"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The right to make the call of one claim, and the feature pools it counts in."""

    member: str
    pools: tuple[str, ...] = ()
    kind: PermitKind = PermitKind.PRERECORDED
    # Of a requested stream: its tenant, and how many of the region's streams the
    # tenant may have. The pool is the tenant's.
    tenant: UUID | None = field(default=None, compare=False)
    share: int | None = field(default=None, compare=False)


class Permits(Protocol):
    """Deepgram's limits: concurrent calls, feature pools, and calls per minute."""

    def find_room(
        self, region: Region, *, direct: bool = False, permit: Permit | None = None
    ) -> dict[str, int]:
        """Return the free permits in total (key "") and per pool; {} if unavailable.

        Counts permits of the permit's kind; its tenant's share is a pool. A caller
        that is not ``direct`` leaves some to the registered waiters.
        """

    def register_waiter(self, region: Region, permit: Permit) -> None:
        """Register a waiting synchronous caller; expires after two seconds.

        For a stream: register that its tenant was refused; expires after 15 seconds.
        """

    def acquire(
        self, region: Region, permits: Sequence[Permit], *, direct: bool = False
    ) -> list[bool]:
        """Grant permits in order while some are free; all False if unavailable."""

    def renew(self, region: str, permits: Iterable[Permit]) -> None:
        """Extend the permits of running calls, even beyond the limit."""

    def release(self, region: str, permits: Iterable[Permit]) -> None:
        """Release permits; unknown ones are ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A locked job that is next in order, and the permit of its claim."""

    job: UUID
    permit: Permit
    crashes: int = 0


def build_permit(job: UUID, lease_token: int, routing_key: str) -> Permit:
    """Return the permit of one claim of a prerecorded job."""
    pools = tuple(routing_keys.parse_pools(routing_key))
    return Permit(member=f"{job}.{lease_token}", pools=pools)


def permit_of(job: Job) -> Permit:
    """Return the permit of the job's current claim."""
    return _build_claim_permit(job, job.lease_token)


def next_permit_of(job: Job) -> Permit:
    """Return the permit of the job's next claim."""
    return _build_claim_permit(job, job.lease_token + 1)


def _build_claim_permit(job: Job, lease_token: int) -> Permit:
    if job.mode == Mode.LIVE:  # feature pools limit prerecorded calls only
        return Permit(
            member=f"{job.pk}.{lease_token}",
            pools=(f"{TENANT_POOL}{job.tenant_id}",),
            kind=PermitKind.STREAM,
        )
    return build_permit(job.pk, lease_token, job.lane)


def compute_stream_share(slots: int, *, max_in_flight: int | None) -> int:
    """Return how many of ``slots`` streams one tenant may have. Pure.

    Half of them, unless the tenant has a ``max_in_flight``.
    """
    if max_in_flight is None:
        return max(1, slots // 2)
    return min(max_in_flight, slots)


def claim_all(
    *, permits: Permits, now: datetime, only_region: str | None = None
) -> Iterator[list[Job]]:
    """Claim the jobs that can run now, region by region, the least loaded first."""
    snapshot = read_capacity(now=now)
    regions = find_open_regions(snapshot)
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
    snapshot: CapacitySnapshot, *, live: bool = False
) -> list[Region]:
    """Return the regions open for work, the least loaded for its weight first."""
    return sorted(
        snapshot.open_regions,
        key=lambda r: (snapshot.count_in(r, live=live) / r.weight, r.name),
    )


def claim(
    *,
    region: Region,
    pinned: Collection[str],
    snapshot: CapacitySnapshot,
    permits: Permits,
    now: datetime,
) -> list[Job]:
    """Claim jobs for one region, up to its free capacity.

    1. Compute the free slots: those of worker processes, the region's limit less its
       rows in flight, and free permits, at most ``MAX_CLAIM``.
    2. Find the routing keys that have work, may run here and have room in their pools.
    3. Assign the slots to tenants by weighted fair share; lock their next jobs; choose
       the process of each.
    4. Acquire one permit per locked job, in order.
    5. Advance the jobs with a permit to *processing* under a new lease, each with the
       process that runs it; release the permits if that fails.
    """
    slots = min(
        MAX_CLAIM,
        snapshot.free_slots(region),
        # Rows as well as permits: Redis may have lost permits during an outage.
        region.max_concurrent - snapshot.count_in(region),
    )
    room = permits.find_room(region) if slots > 0 else {}
    slots = min(slots, room.get("", 0))
    if slots <= 0:
        return []
    served = [
        key
        for key in find_routing_keys()
        if routing_keys.can_run(key, region.name, pinned=pinned)
        and all(room.get(pool, slots) > 0 for pool in routing_keys.parse_pools(key))
    ]
    candidates = _lock_next_jobs(served, slots=slots, in_flight=snapshot.by_tenant())
    processes = _assign(candidates, region=region, snapshot=snapshot, now=now)
    candidates = [each for each in candidates if each.job in processes]
    return _claim_permitted(
        candidates, region=region, processes=processes, permits=permits, now=now
    )


def _assign(
    candidates: Sequence[Candidate],
    *,
    region: Region,
    snapshot: CapacitySnapshot,
    now: datetime,
) -> dict[UUID, str]:
    """Choose the process of each job; "" is the region's queue.

    A job on its last chance, which may be what kills its process, gets a process
    without another one, so that only it fails; without such a process it waits.
    """
    free = snapshot.free_of_processes(region)
    processes: dict[UUID, str] = {}
    fragile = [each for each in candidates if is_last_chance(each.crashes)]
    if fragile and free:
        hosts = [
            name
            for name, slots in free.items()
            if slots > 0 and not snapshot.last_chances[name]
        ]
        for each, host in zip(fragile, hosts, strict=False):
            processes[each.job] = host
            free[host] -= 1
        crowded = [each.job for each in fragile[len(hosts) :]]
        later = now + timedelta(seconds=LAST_CHANCE_WAIT_SECONDS)
        Job.objects.filter(pk__in=crowded).update(ready=False, run_at=later)
        left = [each.job for each in candidates if each not in fragile]
    else:
        left = [each.job for each in candidates]
    chosen = choose_processes(len(left), free=free)
    chosen += [""] * (len(left) - len(chosen))
    return processes | dict(zip(left, chosen, strict=True))


def find_routing_keys() -> list[str]:
    """Return the routing keys with jobs that are ready."""
    return [key for (key,) in prepared_statements.fetch(_ROUTING_KEYS_WITH_WORK)]


def _lock_next_jobs(
    served: list[str], *, slots: int, in_flight: Mapping[UUID, int]
) -> list[Candidate]:
    """Assign slots to tenants; lock and return their next jobs in that order."""
    order = next_tenants(_find_loads(served, in_flight), slots=slots) if served else []
    if not order:
        return []
    shares = Counter(order)
    heads: dict[UUID, deque[Candidate]] = defaultdict(deque)
    parameters = [list(shares), list(shares.values()), served]
    for tenant, job, lease_token, routing_key, crashes in prepared_statements.fetch(
        _LOCK_NEXT_JOBS, parameters
    ):
        permit = build_permit(job, lease_token + 1, routing_key)
        heads[tenant].append(Candidate(job=job, permit=permit, crashes=crashes))
    return [heads[tenant].popleft() for tenant in order if heads[tenant]]


def _find_loads(served: list[str], in_flight: Mapping[UUID, int]) -> list[TenantLoad]:
    """Return the tenants with work for these routing keys, and their load."""
    rows = prepared_statements.fetch(_TENANTS_WITH_WORK, [served])
    return [
        TenantLoad(
            tenant=tenant,
            weight=weight,
            in_flight=in_flight.get(tenant, 0),
            max_in_flight=limit,
            last_served=_round_robin.last_served_of(tenant),
        )
        for tenant, weight, limit in rows
    ]


def _claim_permitted(
    candidates: list[Candidate],
    *,
    region: Region,
    processes: Mapping[UUID, str],
    permits: Permits,
    now: datetime,
) -> list[Job]:
    """Acquire permits for locked jobs and claim those that get one."""
    if not candidates:
        return []
    requested = [candidate.permit for candidate in candidates]
    granted = list(compress(candidates, permits.acquire(region, requested)))
    if not granted:
        return []
    order = {candidate.job: number for number, candidate in enumerate(granted)}
    try:
        claimed = calls.claim_jobs(
            {job: processes[job] for job in order}, region=region.name, now=now
        )
    except BaseException:
        permits.release(region.name, [candidate.permit for candidate in granted])
        raise
    claimed.sort(key=lambda job: order[job.pk])
    _round_robin.record(job.tenant_id for job in claimed)
    return claimed
