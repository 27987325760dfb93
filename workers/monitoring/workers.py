"""Which worker processes live, and what places they have."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.models import Worker
from jobs.scheduling.capacity import WORKER_SEEN_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    """A process by its own word; ``is_stale``: it has not said anything of late."""

    name: str
    queues: list[str]
    slots: int
    busy: int
    seen_at: datetime
    is_stale: bool


def read_workers(*, now: datetime, most: int = 200) -> list[WorkerStatistics]:
    """Return the processes, by name; a door has no places for the queue's work."""
    alive_since = now - timedelta(seconds=WORKER_SEEN_SECONDS)
    return [
        WorkerStatistics(
            name=row.name,
            queues=list(row.queues),
            slots=row.slots,
            busy=row.busy,
            seen_at=row.seen_at,
            is_stale=row.seen_at < alive_since,
        )
        for row in Worker.objects.filter(slots__gt=0).order_by("name")[:most]
    ]
