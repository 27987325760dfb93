"""What is in hand now, and who is alive to run more: read once a tick."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from jobs.models import Job, Region, Worker

QUEUE_PREFIX = "transcribe."
WORKER_SEEN_SECONDS = 10

# Off the small index of the leased jobs, whatever else the table holds.
_HELD = """
SELECT region_id, tenant_id, worker, mode = 'live', count(*) FROM jobs_job
WHERE status = 'processing' GROUP BY 1, 2, 3, 4
"""


def queue_of(region: str) -> str:
    """Return the Celery queue of a region's worker pool."""
    return f"{QUEUE_PREFIX}{region}"


@dataclass(slots=True, kw_only=True)
class CapacitySnapshot:
    """Jobs in hand by region, tenant and worker ("" waits in the broker).

    Live sessions are apart: the upstream has other places for them, and no worker of
    the queue runs one.
    """

    held: Counter[tuple[str, UUID, str]]
    streams: Counter[tuple[str, UUID, str]]
    workers: list[Worker]

    def count_in(
        self, region: Region, *, live: bool = False, tenant_id: UUID | None = None
    ) -> int:
        """Return how many jobs the region has in hand, of all or of one tenant."""
        held = self.streams if live else self.held
        return sum(
            number
            for (name, tenant, _), number in held.items()
            if name == region.name and tenant_id in {None, tenant}
        )

    def by_tenant(self, *, live: bool = False) -> Counter[UUID]:
        """Return how many jobs each tenant has in hand, anywhere."""
        counts: Counter[UUID] = Counter()
        for (_, tenant, _), number in (self.streams if live else self.held).items():
            counts[tenant] += number
        return counts

    def free_threads(self, region: Region) -> int:
        """Return how many more jobs the region's live workers have threads for.

        What dead workers held is not counted against the living: a job counts if it
        waits in the broker or if its worker was seen lately. A pool may serve several
        regions: what it does for the others takes threads too. Negative: more was sent
        than there are threads left.
        """
        queue = queue_of(region.name)
        live = [worker for worker in self.workers if queue in worker.queues]
        names = {worker.name for worker in live}
        served = {queue, *(name for worker in live for name in worker.queues)}
        busy = sum(
            number
            for (name, _, worker), number in self.held.items()
            if worker in names or (worker == "" and queue_of(name) in served)
        )
        return sum(worker.slots for worker in live) - busy

    def add(self, claimed: Iterable[Job]) -> None:
        """Count what was just claimed."""
        for job in claimed:
            self.held[job.region_id or "", job.tenant_id, ""] += 1


def read_capacity(*, now: datetime) -> CapacitySnapshot:
    """Read the rows: two small statements."""
    held: Counter[tuple[str, UUID, str]] = Counter()
    streams: Counter[tuple[str, UUID, str]] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(_HELD)
        for region, tenant, name, is_live, number in cursor.fetchall():
            (streams if is_live else held)[region, tenant, name] = number
    seen_since = now - timedelta(seconds=WORKER_SEEN_SECONDS)
    workers = list(Worker.objects.filter(seen_at__gte=seen_since))
    return CapacitySnapshot(held=held, streams=streams, workers=workers)
