"""Claim a job at a door: where it has a place now, and its call begun in one commit.

For whoever waits for one job: the synchronous door and live sessions. The queue's own
claims are ``jobs.scheduling.claims``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from jobs import services
from jobs.errors import StaleJobState
from jobs.models import Attempt, Job, Mode, Region, Tenant
from jobs.routing import routing_keys
from jobs.scheduling.capacity import CapacitySnapshot, read_capacity
from jobs.scheduling.claims import (
    Permit,
    PermitKind,
    Permits,
    find_open_regions,
    next_permit_of,
    share_of,
)
from jobs.state import JobStatus


class ShareTaken(Exception):
    """The tenant has as many streams as it may; those of others have room."""

    def __init__(self, share: int) -> None:
        super().__init__(share)
        self.share = share


class NoCapacitySoon(Exception):
    """No place will come soon for this job, however long somebody waits for it."""


def claim_directly(
    job: Job, *, permits: Permits, worker: str, now: datetime
) -> tuple[Job, Attempt] | None:
    """Claim a job that waits at a door and begin its call, in one commit.

    None when no place is free: a later look may find one. Raises NoUseWaiting when
    none will come soon, StaleJobState when somebody else has the job by now.
    """
    region = acquire_permit(job, permits=permits, now=now)
    if region is None:
        return None
    return start_directly(job, region=region, permits=permits, worker=worker)


def acquire_permit(
    job: Job, *, permits: Permits, now: datetime, but_in: str = ""
) -> Region | None:
    """Take the place that the job's next claim needs; return where, or None.

    ``but_in`` is a region to leave out. Raises NoUseWaiting, and for a stream
    ShareTaken.
    """
    snapshot = read_capacity(now=now)
    tenant = _check_may_have_one_more(job, snapshot)
    asked = {}
    rooms: list[Mapping[str, int]] = []
    for region in find_regions_for(job, snapshot, now=now):
        if region.name == but_in:
            continue
        asked[region] = permit = _permit_in(region, job, tenant)
        rooms.append(permits.find_room(region, at_door=True, permit=permit))
        if _is_full(region, snapshot, permit) or not _has_room(rooms[-1], permit):
            continue
        if permits.acquire(region, [permit], at_door=True)[0]:
            return region
    if not any(rooms):  # no region is open to it, or no ledger answers
        raise NoCapacitySoon
    if job.mode == Mode.LIVE:
        _note_refusal(asked, snapshot, permits=permits, moves=bool(but_in))
        return None
    for region, permit in asked.items():
        permits.want(region, permit)
    return None


def _note_refusal(
    asked: Mapping[Region, Permit],
    snapshot: CapacitySnapshot,
    *,
    permits: Permits,
    moves: bool,
) -> None:
    """Say where a stream was refused; raise ShareTaken if others would have a place.

    A refusal ends sessions without audio. So it counts only where the region is full,
    not by its own tenant, and not for a session that has a place elsewhere.
    """
    shares = []
    for region, permit in asked.items():
        room = permits.find_room(region, at_door=True, permit=permit)
        is_full = snapshot.count_in(region, live=True) >= region.max_streams
        has_share = _has_its_share(region, snapshot, permit, room)
        if has_share and not is_full and room.get("", 0) > 0:
            shares.append(permit.share or 0)
        elif is_full and not has_share and not moves:
            permits.want(region, permit)
    if shares:
        raise ShareTaken(max(shares))


def find_regions_for(
    job: Job, snapshot: CapacitySnapshot, *, now: datetime
) -> list[Region]:
    """Return the open regions that the job may run in, the least loaded first."""
    regions = find_open_regions(snapshot, now=now, live=job.mode == Mode.LIVE)
    pinned = [region.name for region in regions if region.is_pinned]
    return [
        region
        for region in regions
        if routing_keys.may_run(job.lane, region.name, pinned=pinned)
    ]


def _permit_in(region: Region, job: Job, tenant: Tenant) -> Permit:
    """Return the permit of the job's next claim; a stream's with its tenant's share."""
    permit = next_permit_of(job)
    if permit.kind != PermitKind.STREAM:
        return permit
    share = share_of(region.max_streams, max_in_flight=tenant.max_in_flight)
    return replace(permit, tenant=tenant.pk, share=share)


def _has_its_share(
    region: Region, snapshot: CapacitySnapshot, permit: Permit, room: Mapping[str, int]
) -> bool:
    """Tell whether a tenant has all streams of a region that it may have.

    By the rows, too: Redis may have forgotten places.
    """
    held = snapshot.count_in(region, live=True, tenant_id=permit.tenant)
    by_rows = permit.share is not None and held >= permit.share
    return by_rows or any(room.get(pool, 1) <= 0 for pool in permit.pools)


def _check_may_have_one_more(job: Job, snapshot: CapacitySnapshot) -> Tenant:
    tenant = Tenant.objects.get(pk=job.tenant_id)
    limit = tenant.max_in_flight
    in_hand = snapshot.by_tenant(live=job.mode == Mode.LIVE)[tenant.pk]
    is_one_of_them = job.status == JobStatus.PROCESSING
    has_all = limit is not None and in_hand - is_one_of_them >= limit
    if (tenant.is_paused and not is_one_of_them) or has_all:
        raise NoCapacitySoon
    return tenant


def _is_full(region: Region, snapshot: CapacitySnapshot, permit: Permit) -> bool:
    """Tell by the rows whether a region is full: Redis may have forgotten places."""
    if permit.kind == PermitKind.STREAM:
        is_full = snapshot.count_in(region, live=True) >= region.max_streams
        return is_full or _has_its_share(region, snapshot, permit, {})
    return snapshot.count_in(region) >= region.max_concurrent


def _has_room(room: Mapping[str, int], permit: Permit) -> bool:
    # A pool that the region does not limit is not in its room.
    return room.get("", 0) > 0 and all(room.get(pool, 1) > 0 for pool in permit.pools)


def start_directly(
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
