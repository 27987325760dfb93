"""Count in-flight jobs and free worker slots, once per tick."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from jobs.models import Job, Region, Worker, prepared_statements

QUEUE_PREFIX = "transcribe."
WORKER_SEEN_SECONDS = 10

# Reads only the partial index of leased jobs, whatever the table's size.
_COUNT_IN_FLIGHT = """
SELECT region_id, tenant_id, worker, mode = 'live', count(*),
  count(*) FILTER (WHERE crashes > 0 AND crashes = $1)
FROM jobs_job WHERE status = 'processing' GROUP BY 1, 2, 3, 4
"""

_IS_OPEN = "is_enabled AND NOT is_drained AND coalesce(paused_until <= $1, true)"


def queue_of(region: str) -> str:
    """Return the Celery queue of a region's worker pool."""
    return f"{QUEUE_PREFIX}{region}"


def is_last_chance(crashes: int) -> bool:
    """Return whether a job fails if its worker crashes once more."""
    return 0 < crashes == settings.MAX_CRASHES - 1


@dataclass(slots=True, kw_only=True)
class CapacitySnapshot:
    """In-flight jobs by region, tenant and worker.

    The worker is "" for a claim of the region's queue that no process has taken yet.
    Live sessions are counted apart: Deepgram limits them separately, and no Celery
    worker runs one.
    """

    prerecorded: Counter[tuple[str, UUID, str]]
    streams: Counter[tuple[str, UUID, str]]
    workers: list[Worker]
    # Regions that are enabled, neither drained nor paused.
    open_regions: list[Region]
    # Jobs on their last chance by worker: one more crash and they fail.
    last_chances: Counter[str]

    def count_in(
        self, region: Region, *, live: bool = False, tenant_id: UUID | None = None
    ) -> int:
        """Return how many jobs the region has in flight, of all or of one tenant."""
        jobs = self.streams if live else self.prerecorded
        return sum(
            number
            for (name, tenant, _), number in jobs.items()
            if name == region.name and tenant_id in {None, tenant}
        )

    def by_tenant(self, *, live: bool = False) -> Counter[UUID]:
        """Return how many jobs each tenant has in flight, in all regions."""
        jobs = self.streams if live else self.prerecorded
        counts: Counter[UUID] = Counter()
        for (_, tenant, _), number in jobs.items():
            counts[tenant] += number
        return counts

    def free_slots(self, region: Region) -> int:
        """Return how many more jobs the region's live workers can start now.

        Jobs of workers not seen within ``WORKER_SEEN_SECONDS`` occupy none.
        """
        processes = self.free_of_processes(region).values()
        return sum(max(0, free) for free in processes) + max(
            0, self.free_of_queue(region)
        )

    def free_of_processes(self, region: Region) -> dict[str, int]:
        """Return the free slots of each live process that accepts batches."""
        busy: Counter[str] = Counter()
        for (_, _, worker), number in self.prerecorded.items():
            busy[worker] += number
        queue = queue_of(region.name)
        return {
            worker.name: worker.slots - busy[worker.name]
            for worker in self.workers
            if worker.accepts_batches and queue in worker.queues
        }

    def free_of_queue(self, region: Region) -> int:
        """Return the free threads of the processes that take single claims.

        They share the queues of their regions, and the claims that wait there.
        """
        queue = queue_of(region.name)
        live = [
            worker
            for worker in self.workers
            if queue in worker.queues and not worker.accepts_batches
        ]
        names = {worker.name for worker in live}
        served = {queue, *(name for worker in live for name in worker.queues)}
        busy = sum(
            number
            for (name, _, worker), number in self.prerecorded.items()
            if worker in names or (worker == "" and queue_of(name) in served)
        )
        return sum(worker.slots for worker in live) - busy

    def add(self, claimed: Iterable[Job]) -> None:
        """Count jobs that were just claimed."""
        for job in claimed:
            self.prerecorded[job.region_id or "", job.tenant_id, job.worker] += 1
            self.last_chances[job.worker] += is_last_chance(job.crashes)


def select_live_workers(*, now: datetime) -> prepared_statements.Statement:
    """Return the SELECT of the processes seen within ``WORKER_SEEN_SECONDS``."""
    seen_since = now - timedelta(seconds=WORKER_SEEN_SECONDS)
    return prepared_statements.select(Worker, "seen_at >= $1"), [seen_since]


def read_capacity(*, now: datetime) -> CapacitySnapshot:
    """Read the counts, the live workers and the open regions in one round trip."""
    prerecorded: Counter[tuple[str, UUID, str]] = Counter()
    streams: Counter[tuple[str, UUID, str]] = Counter()
    last_chances: Counter[str] = Counter()
    rows, workers, regions = prepared_statements.fetch_many(
        [
            (_COUNT_IN_FLIGHT, [settings.MAX_CRASHES - 1]),
            select_live_workers(now=now),
            (prepared_statements.select(Region, _IS_OPEN), [now]),
        ]
    )
    for region, tenant, name, is_live, number, last in rows:
        (streams if is_live else prerecorded)[region, tenant, name] = number
        last_chances[name] += last
    return CapacitySnapshot(
        prerecorded=prerecorded,
        streams=streams,
        workers=prepared_statements.load_all(Worker, workers),
        open_regions=prepared_statements.load_all(Region, regions),
        last_chances=last_chances,
    )
