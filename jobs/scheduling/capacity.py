"""Count in-flight jobs and free worker slots, once per tick."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from jobs.models import Job, Region, Worker

QUEUE_PREFIX = "transcribe."
WORKER_SEEN_SECONDS = 10

# Reads only the partial index of leased jobs, whatever the table's size.
_COUNT_IN_FLIGHT = """
SELECT region_id, tenant_id, worker, mode = 'live', count(*) FROM jobs_job
WHERE status = 'processing' GROUP BY 1, 2, 3, 4
"""


def queue_of(region: str) -> str:
    """Return the Celery queue of a region's worker pool."""
    return f"{QUEUE_PREFIX}{region}"


@dataclass(slots=True, kw_only=True)
class CapacitySnapshot:
    """In-flight jobs by region, tenant and worker ("" is still in the broker).

    Live sessions are counted apart: Deepgram limits them separately, and no Celery
    worker runs one.
    """

    prerecorded: Counter[tuple[str, UUID, str]]
    streams: Counter[tuple[str, UUID, str]]
    workers: list[Worker]

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

    def free_threads(self, region: Region) -> int:
        """Return how many more jobs the region's live workers have threads for.

        A job counts if it is in the broker or its worker was seen within
        ``WORKER_SEEN_SECONDS``, so jobs of dead workers do not. A pool may serve
        several regions, and jobs of all of them count. Negative: more jobs were sent
        than threads are left.
        """
        queue = queue_of(region.name)
        live = [worker for worker in self.workers if queue in worker.queues]
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
            self.prerecorded[job.region_id or "", job.tenant_id, ""] += 1


def read_capacity(*, now: datetime) -> CapacitySnapshot:
    """Read the counts and the live workers with two queries."""
    prerecorded: Counter[tuple[str, UUID, str]] = Counter()
    streams: Counter[tuple[str, UUID, str]] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_IN_FLIGHT)
        for region, tenant, name, is_live, number in cursor.fetchall():
            (streams if is_live else prerecorded)[region, tenant, name] = number
    seen_since = now - timedelta(seconds=WORKER_SEEN_SECONDS)
    workers = list(Worker.objects.filter(seen_at__gte=seen_since))
    return CapacitySnapshot(prerecorded=prerecorded, streams=streams, workers=workers)
