"""Why a queued job does not run yet, as the API and the admin show it.

The same facts as in a claim, but without Redis: a region is full if its
jobs in flight reach its limit of concurrent calls.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from jobs.models import Job, Region
from jobs.routing import routing_keys
from jobs.scheduling.capacity import CapacitySnapshot, queue_of, read_capacity
from jobs.scheduling.claims import find_open_regions
from jobs.state import JobStatus


class WaitReason(StrEnum):
    """Why a job waits, worst first."""

    TENANT_PAUSED = "tenant_paused"
    BATCH_PAUSED = "batch_paused"
    RETRY = "retry"
    REGION_CLOSED = "region_closed"
    NO_WORKER = "no_worker"
    TENANT_LIMIT = "tenant_limit"
    NO_PERMIT = "no_permit"
    IN_QUEUE = "in_queue"


_DETAILS = {
    WaitReason.TENANT_PAUSED: "The jobs of this account are paused.",
    WaitReason.BATCH_PAUSED: "Its batch is paused.",
    WaitReason.RETRY: "The last call failed and is repeated later.",
    WaitReason.REGION_CLOSED: "No region that may process it is open.",
    WaitReason.NO_WORKER: "No worker runs in the regions that may process it.",
    WaitReason.TENANT_LIMIT: "The account runs as many jobs at once as it may.",
    WaitReason.NO_PERMIT: "All upstream calls or workers are in use.",
    WaitReason.IN_QUEUE: "It is in the queue.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingReason:
    """Why a job waits, and until when if that is known."""

    reason: WaitReason
    until: datetime | None = None

    @property
    def detail(self) -> str:
        """A sentence for people."""
        return _DETAILS[self.reason]


def explain_wait(job: Job, *, now: datetime) -> WaitingReason | None:
    """Return why the job waits; None if it is not queued."""
    if job.status != JobStatus.QUEUED:
        return None
    if job.tenant.is_paused:
        return WaitingReason(reason=WaitReason.TENANT_PAUSED)
    if not job.ready and job.run_at is None:
        return WaitingReason(reason=WaitReason.BATCH_PAUSED)
    if not job.ready:
        return WaitingReason(reason=WaitReason.RETRY, until=job.run_at)
    snapshot = read_capacity(now=now)
    allowed = _find_allowed_regions(job, snapshot)
    if not allowed:
        return WaitingReason(
            reason=WaitReason.REGION_CLOSED, until=_find_end_of_pause(job, now=now)
        )
    return WaitingReason(reason=_find_shortage(job, allowed, snapshot))


def _find_allowed_regions(job: Job, snapshot: CapacitySnapshot) -> list[Region]:
    regions = find_open_regions(snapshot)
    pinned = [region.name for region in regions if region.is_pinned]
    return [
        region
        for region in regions
        if routing_keys.can_run(job.lane, region.name, pinned=pinned)
    ]


def _find_shortage(
    job: Job, regions: list[Region], snapshot: CapacitySnapshot
) -> WaitReason:
    served = {queue for worker in snapshot.workers for queue in worker.queues}
    regions = [region for region in regions if queue_of(region.name) in served]
    if not regions:
        return WaitReason.NO_WORKER
    limit = job.tenant.max_in_flight
    if limit is not None and snapshot.by_tenant()[job.tenant_id] >= limit:
        return WaitReason.TENANT_LIMIT
    has_room = any(
        snapshot.count_in(region) < region.max_concurrent
        and snapshot.free_slots(region) > 0
        for region in regions
    )
    return WaitReason.IN_QUEUE if has_room else WaitReason.NO_PERMIT


def _find_end_of_pause(job: Job, *, now: datetime) -> datetime | None:
    """Return when the first region opens that Deepgram's refusal paused."""
    paused = Region.objects.filter(
        is_enabled=True, is_drained=False, paused_until__gt=now
    ).order_by("paused_until")
    return next(
        (
            row.paused_until
            for row in paused
            if routing_keys.can_run(job.lane, row.name)
        ),
        None,
    )
