"""Which jobs run next, and where: the claim and the room for it.

Tenants by weighted share of what is in flight, then priority, then age. What cannot run
(another region's lane, a paused tenant, a later ``run_at``) is never looked at, so a
claim costs the same whatever the backlog is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import compress
from typing import Any, Protocol
from uuid import UUID

from django.db import connection
from django.db.models import Count, F, Q

from jobs import lanes, services
from jobs.fairness import Load, next_turns
from jobs.models import Job, Region, Worker
from jobs.state import JobStatus

QUEUE_PREFIX = "transcribe."
WORKER_SEEN_SECONDS = 10
MAX_CLAIM = 500  # a tick stays short however much room there is

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
# The first jobs of each tenant in each lane, straight off the claim index.
_HEADS = """
SELECT head.tenant_id, head.id
FROM unnest(%s::uuid[], %s::int[]) AS share (tenant, places),
     unnest(%s::text[]) AS served (lane),
     LATERAL (
       SELECT id, tenant_id, priority FROM jobs_job
       WHERE tenant_id = share.tenant AND lane = served.lane
       AND status = 'queued' AND ready
       ORDER BY priority, id LIMIT share.places
     ) head
ORDER BY head.priority, head.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to call, by name: one claim of one job, and the narrow pools it needs."""

    member: str
    pools: tuple[str, ...] = ()


class Permits(Protocol):
    """The upstream's limits as one ledger: places, narrow pools, a sliding minute."""

    def find_room(self, region: Region) -> dict[str, int]:
        """Return free places in all (key "") and in each pool; {} when it is away."""

    def acquire(self, region: Region, permits: Sequence[Permit]) -> list[bool]:
        """Grant in order while there is room; all False when the ledger is away."""

    def release(self, region: str, permits: Iterable[Permit]) -> None:
        """Give places back; unknown ones are ignored."""


def permit_of(job: Job) -> Permit:
    """Return the permit that a claim of this job holds."""
    return Permit(
        member=f"{job.pk}.{job.lease_token}", pools=tuple(lanes.pools_of(job.lane))
    )


def queue_of(region: str) -> str:
    """Return the Celery queue of a region's worker pool."""
    return f"{QUEUE_PREFIX}{region}"


def claim_all(
    *, permits: Permits, now: datetime, only_region: str | None = None
) -> Iterator[list[Job]]:
    """Claim what can run now, region by region, the least loaded first."""
    waiting = _find_lanes()
    if not waiting:
        return
    regions = find_open_regions(now=now)
    pinned = [region.name for region, _ in regions if region.is_pinned]
    for region, in_hand in regions:
        if only_region in {None, region.name}:
            served = [
                lane
                for lane in waiting
                if lanes.may_run(lane, region.name, pinned=pinned)
            ]
            # The rows are a second wall: places that Redis forgot while it was away
            # are still taken here.
            places = min(MAX_CLAIM, region.max_concurrent - in_hand)
            yield claim(
                region=region, served=served, places=places, permits=permits, now=now
            )


def find_open_regions(*, now: datetime) -> list[tuple[Region, int]]:
    """Return the regions open for work and how many jobs each has in hand.

    The least loaded for its weight comes first.
    """
    rows = Region.objects.filter(is_enabled=True, is_drained=False)
    rows = rows.filter(Q(paused_until=None) | Q(paused_until__lte=now))
    # Counted apart: a join would read every job that the region ever ran.
    counts = _count_in_hand("region")
    regions = [(region, counts.get(region.pk, 0)) for region in rows]
    return sorted(regions, key=lambda each: (each[1] / each[0].weight, each[0].name))


def _count_in_hand(field: str) -> dict[Any, int]:
    """Count the jobs being processed, off the small index of the leased ones."""
    rows = Job.objects.filter(status=JobStatus.PROCESSING).values_list(field)
    return dict(rows.annotate(Count("pk")))


def claim(
    *, region: Region, served: list[str], places: int, permits: Permits, now: datetime
) -> list[Job]:
    """Claim for one region up to ``places`` jobs of the served lanes."""
    if not served or places <= 0:
        return []
    places = min(places, count_free_threads(region, now=now))
    room = permits.find_room(region) if places > 0 else {}
    places = min(places, room.get("", 0))
    open_lanes = [
        lane
        for lane in served
        if all(room.get(pool, places) > 0 for pool in lanes.pools_of(lane))
    ]
    if places <= 0 or not open_lanes:
        return []
    picked = _lock(_pick(open_lanes, places=places))
    return _take(picked, region=region, permits=permits, now=now)


def count_free_threads(region: Region, *, now: datetime) -> int:
    """Return how many more jobs the region's live workers have threads for.

    What dead workers held is not counted against the living: a job is in hand here if
    it waits in the broker or if its worker was seen lately. Negative: more was sent
    than there are threads left.
    """
    queue = queue_of(region.name)
    seen = Worker.objects.filter(
        seen_at__gte=now - timedelta(seconds=WORKER_SEEN_SECONDS)
    )
    live = [worker for worker in seen if queue in worker.queues]
    # A pool may serve several regions: what it does for the others takes threads too.
    served = {queue, *(name for worker in live for name in worker.queues)}
    regions = [name.removeprefix(QUEUE_PREFIX) for name in served]
    in_hand = Job.objects.filter(
        Q(worker="", region__in=regions) | Q(worker__in=[w.name for w in live]),
        status=JobStatus.PROCESSING,
    ).count()
    return sum(worker.slots for worker in live) - in_hand


def _find_lanes() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_LANES)
        return [lane for (lane,) in cursor.fetchall()]


def _pick(served: list[str], *, places: int) -> list[UUID]:
    """Return the ids of the jobs whose turn it is, in the order of the turns."""
    turns = next_turns(_find_loads(served), places=places)
    wanted = Counter(turns)
    with connection.cursor() as cursor:
        cursor.execute(_HEADS, [list(wanted), list(wanted.values()), served])
        heads: dict[UUID, list[UUID]] = defaultdict(list)
        for tenant, job in cursor.fetchall():
            heads[tenant].append(job)
    queues = {tenant: iter(jobs) for tenant, jobs in heads.items()}
    picked = (next(queues.get(tenant, iter(())), None) for tenant in turns)
    return [job for job in picked if job]


def _find_loads(served: list[str]) -> list[Load]:
    """Return the tenants with work in these lanes and what they have in flight."""
    in_flight = _count_in_hand("tenant")
    with connection.cursor() as cursor:
        cursor.execute(_TENANTS, [served])
        return [
            Load(
                tenant=tenant,
                weight=weight,
                in_flight=in_flight.get(tenant, 0),
                max_in_flight=limit,
            )
            for tenant, weight, limit in cursor.fetchall()
        ]


def _lock(picked: list[UUID]) -> list[Job]:
    """Lock the picked rows that are still to be had, in the order picked."""
    rows = (
        Job.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(pk__in=picked, status=JobStatus.QUEUED, ready=True)
        .only("pk", "lease_token", "lane")
        .in_bulk()
    )
    return [rows[pk] for pk in picked if pk in rows]


def _take(
    jobs: list[Job], *, region: Region, permits: Permits, now: datetime
) -> list[Job]:
    """Take permits for locked rows and move those that got one."""
    for job in jobs:
        job.lease_token += 1  # the claim's, as the UPDATE below will have it
    asked = [permit_of(job) for job in jobs]
    granted = list(compress(jobs, permits.acquire(region, asked))) if jobs else []
    if not granted:
        return []
    try:
        taken = services.advance(
            Job.objects.filter(pk__in=[job.pk for job in granted]),
            to=JobStatus.PROCESSING,
            at=now,
            region=region,
            lease_token=F("lease_token") + 1,
            lease_until=now + services.lease_time(),
            run_at=None,
        )
    except BaseException:
        permits.release(region.name, [permit_of(job) for job in granted])
        raise
    turn = {job.pk: number for number, job in enumerate(granted)}
    return sorted(taken, key=lambda job: turn[job.pk])
