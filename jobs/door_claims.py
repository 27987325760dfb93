"""Claim a job at a door: where it has a place now, and its call begun in one commit.

For whoever waits for one job: the synchronous door and live sessions. The queue's own
claims are ``jobs.claims``.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from jobs import lanes, services
from jobs.claims import Kind, Permit, Permits, find_open_regions, next_permit_of
from jobs.errors import StaleJobState
from jobs.in_hand import Snapshot, take_snapshot
from jobs.models import Attempt, Job, Mode, Region, Tenant
from jobs.state import JobStatus


class NoUseWaiting(Exception):
    """No place will come soon for this job, however long somebody waits for it."""


def claim_at_door(
    job: Job, *, permits: Permits, worker: str, now: datetime
) -> tuple[Job, Attempt] | None:
    """Claim a job that waits at a door and begin its call, in one commit.

    None when no place is free: a later look may find one. Raises NoUseWaiting when
    none will come soon, StaleJobState when somebody else has the job by now.
    """
    region = take_place(job, permits=permits, now=now)
    if region is None:
        return None
    return begin_at_door(job, region=region, permits=permits, worker=worker)


def take_place(
    job: Job, *, permits: Permits, now: datetime, but_in: str = ""
) -> Region | None:
    """Take the place that the job's next claim needs; return where, or None.

    ``but_in`` is a region to leave out. Raises NoUseWaiting.
    """
    snapshot = take_snapshot(now=now)
    _check_may_have_one_more(job, snapshot)
    permit = next_permit_of(job)
    rooms = {}
    for region in find_regions_for(job, snapshot, now=now):
        if region.name == but_in:
            continue
        rooms[region] = permits.find_room(region, at_door=True, kind=permit.kind)
        if _is_full(region, snapshot, permit) or not _has_room(rooms[region], permit):
            continue
        if permits.acquire(region, [permit], at_door=True)[0]:
            return region
    if not any(rooms.values()):  # no region is open to it, or no ledger answers
        raise NoUseWaiting
    for region in rooms:
        permits.want(region, permit)
    return None


def find_regions_for(job: Job, snapshot: Snapshot, *, now: datetime) -> list[Region]:
    """Return the open regions that the job may run in, the least loaded first."""
    regions = find_open_regions(snapshot, now=now, live=job.mode == Mode.LIVE)
    pinned = [region.name for region in regions if region.is_pinned]
    return [
        region
        for region in regions
        if lanes.may_run(job.lane, region.name, pinned=pinned)
    ]


def _check_may_have_one_more(job: Job, snapshot: Snapshot) -> None:
    tenant = Tenant.objects.get(pk=job.tenant_id)
    limit = tenant.max_in_flight
    in_hand = snapshot.by_tenant(live=job.mode == Mode.LIVE)[tenant.pk]
    is_one_of_them = job.status == JobStatus.PROCESSING
    has_all = limit is not None and in_hand - is_one_of_them >= limit
    if (tenant.is_paused and not is_one_of_them) or has_all:
        raise NoUseWaiting


def _is_full(region: Region, snapshot: Snapshot, permit: Permit) -> bool:
    """Tell by the rows whether a region is full: Redis may have forgotten places."""
    if permit.kind == Kind.STREAM:
        return snapshot.count_in(region, live=True) >= region.max_streams
    return snapshot.count_in(region) >= region.max_concurrent


def _has_room(room: Mapping[str, int], permit: Permit) -> bool:
    # A pool that the region does not limit is not in its room.
    return room.get("", 0) > 0 and all(room.get(pool, 1) > 0 for pool in permit.pools)


def begin_at_door(
    job: Job,
    *,
    region: Region,
    permits: Permits,
    worker: str,
    write: Callable[[], None] | None = None,
) -> tuple[Job, Attempt]:
    """Claim the job where it has a place and begin its call, in one commit.

    ``write`` writes the job itself, where that is not there before. Raises
    StaleJobState when somebody else has the job by now.
    """
    permit = next_permit_of(job)
    try:
        with transaction.atomic():
            if write:
                write()
            return _advance_and_start(job, region=region, worker=worker)
    except BaseException:
        # Who claimed it meanwhile holds a place of the same name.
        claimed = Job.objects.filter(pk=job.pk, lease_token=job.lease_token + 1)
        if not claimed.exists():
            permits.release(region.name, [permit])
        raise


def _advance_and_start(job: Job, *, region: Region, worker: str) -> tuple[Job, Attempt]:
    now = timezone.now()
    moved = services.advance(
        Job.objects.filter(pk=job.pk, lease_token=job.lease_token),
        to=JobStatus.PROCESSING,
        at=now,
        region=region,
        lease_token=F("lease_token") + 1,
        lease_until=now + services.lease_time(),
        ready=True,
        run_at=None,
    )
    begun = moved and services.start_call(
        job_id=job.pk, lease_token=moved[0].lease_token, worker=worker, now=now
    )
    if not begun:
        raise StaleJobState
    return begun
