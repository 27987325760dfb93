"""Claim one job and start its call in one commit, without the queue.

Used by synchronous requests and live sessions. The dispatcher's claims are in
``jobs.scheduling.claims``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from jobs import services
from jobs.calls import start_call
from jobs.errors import StaleJobState
from jobs.models import Attempt, Job, Mode, Region, Tenant
from jobs.routing import routing_keys
from jobs.scheduling.capacity import CapacitySnapshot, read_capacity
from jobs.scheduling.claims import (
    Permit,
    PermitKind,
    Permits,
    compute_stream_share,
    find_open_regions,
    next_permit_of,
)
from jobs.state import JobStatus


class StreamShareExhausted(Exception):
    """The tenant has its share of a region's streams; the region is not full."""

    def __init__(self, share: int) -> None:
        super().__init__(share)
        self.share = share


class NoCapacitySoon(Exception):
    """Waiting is useless: no permit for this job becomes free soon."""


def claim_directly(
    job: Job, *, permits: Permits, worker: str, now: datetime
) -> tuple[Job, Attempt] | None:
    """Claim the job of a synchronous request and start its call, in one commit.

    Returns None if no permit is free now; the caller may retry. Raises NoCapacitySoon
    if waiting is useless, StaleJobState if the job changed concurrently.
    """
    region = acquire_permit(job, permits=permits, now=now)
    if region is None:
        return None
    return start_directly(job, region=region, permits=permits, worker=worker)


def acquire_permit(
    job: Job, *, permits: Permits, now: datetime, excluded_region: str = ""
) -> Region | None:
    """Acquire the permit of the job's next claim; return its region, or None.

    Raises NoCapacitySoon, and for a stream StreamShareExhausted.
    """
    snapshot = read_capacity(now=now)
    tenant = _check_tenant_limit(job, snapshot)
    requested = {}
    rooms: list[Mapping[str, int]] = []
    for region in find_regions_for(job, snapshot):
        if region.name == excluded_region:
            continue
        requested[region] = permit = _build_permit(region, job, tenant)
        rooms.append(permits.find_room(region, direct=True, permit=permit))
        if _is_full(region, snapshot, permit) or not _has_room(rooms[-1], permit):
            continue
        if permits.acquire(region, [permit], direct=True)[0]:
            return region
    if not any(rooms):  # no region is open to the job, or Redis is unavailable
        raise NoCapacitySoon
    if job.mode == Mode.LIVE:
        _register_refusal(
            requested, snapshot, permits=permits, is_moving=bool(excluded_region)
        )
        return None
    for region, permit in requested.items():
        permits.register_waiter(region, permit)
    return None


def _register_refusal(
    requested: Mapping[Region, Permit],
    snapshot: CapacitySnapshot,
    *,
    permits: Permits,
    is_moving: bool,
) -> None:
    """Register where a stream was refused; raise StreamShareExhausted if it applies.

    A registered refusal ends idle sessions. It is registered only if the region is
    full, its own tenant has not used its share, and the session has no other region.
    """
    shares = []
    for region, permit in requested.items():
        room = permits.find_room(region, direct=True, permit=permit)
        is_full = snapshot.count_in(region, live=True) >= region.max_streams
        has_share = _has_used_share(region, snapshot, permit, room)
        if has_share and not is_full and room.get("", 0) > 0:
            shares.append(permit.share or 0)
        elif is_full and not has_share and not is_moving:
            permits.register_waiter(region, permit)
    if shares:
        raise StreamShareExhausted(max(shares))


def find_regions_for(job: Job, snapshot: CapacitySnapshot) -> list[Region]:
    """Return the open regions where the job may run, the least loaded first."""
    regions = find_open_regions(snapshot, live=job.mode == Mode.LIVE)
    pinned = [region.name for region in regions if region.is_pinned]
    return [
        region
        for region in regions
        if routing_keys.can_run(job.lane, region.name, pinned=pinned)
    ]


def _build_permit(region: Region, job: Job, tenant: Tenant) -> Permit:
    """Build the permit of the job's next claim; a stream's has its tenant's share."""
    permit = next_permit_of(job)
    if permit.kind != PermitKind.STREAM:
        return permit
    share = compute_stream_share(region.max_streams, max_in_flight=tenant.max_in_flight)
    return replace(permit, tenant=tenant.pk, share=share)


def _has_used_share(
    region: Region, snapshot: CapacitySnapshot, permit: Permit, room: Mapping[str, int]
) -> bool:
    """Return whether the tenant has all the streams it may have in the region.

    Checks rows as well as permits: Redis may have lost permits.
    """
    streams = snapshot.count_in(region, live=True, tenant_id=permit.tenant)
    by_rows = permit.share is not None and streams >= permit.share
    return by_rows or any(room.get(pool, 1) <= 0 for pool in permit.pools)


def _check_tenant_limit(job: Job, snapshot: CapacitySnapshot) -> Tenant:
    tenant = Tenant.objects.get(pk=job.tenant_id)
    """Return the job's tenant; raise NoCapacitySoon if it may not start this job."""
    limit = tenant.max_in_flight
    is_running = job.status == JobStatus.PROCESSING
    others = snapshot.by_tenant(live=job.mode == Mode.LIVE)[tenant.pk] - is_running
    is_at_limit = limit is not None and others >= limit
    if (tenant.is_paused and not is_running) or is_at_limit:
        raise NoCapacitySoon
    return tenant


def _is_full(region: Region, snapshot: CapacitySnapshot, permit: Permit) -> bool:
    """Return whether the region is full by its rows: Redis may have lost permits."""
    if permit.kind == PermitKind.STREAM:
        is_full = snapshot.count_in(region, live=True) >= region.max_streams
        return is_full or _has_used_share(region, snapshot, permit, {})
    return snapshot.count_in(region) >= region.max_concurrent


def _has_room(room: Mapping[str, int], permit: Permit) -> bool:
    # ``room`` has no entry for pools that the region does not limit.
    return room.get("", 0) > 0 and all(room.get(pool, 1) > 0 for pool in permit.pools)


def start_directly(
    job: Job,
    *,
    region: Region,
    permits: Permits,
    worker: str,
    write: Callable[[], None] | None = None,
) -> tuple[Job, Attempt]:
    """Claim the job in the region of its permit and start its call, in one commit.

    ``write`` inserts the job, if it is new. Raises StaleJobState if the job changed
    concurrently. Releases the permit on failure.
    """
    permit = next_permit_of(job)
    try:
        with transaction.atomic():
            if write:
                write()
            return _advance_and_start(job, region=region, worker=worker)
    except BaseException:
        # A concurrent claim has a permit of the same name.
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
    started = moved and start_call(
        job_id=job.pk, lease_token=moved[0].lease_token, worker=worker, now=now
    )
    if not started:
        raise StaleJobState
    return started
