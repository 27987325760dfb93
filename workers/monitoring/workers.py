"""Worker processes and their slots."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from jobs.models import Worker
from jobs.scheduling.capacity import WORKER_SEEN_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    """A worker process; ``is_stale``: without a recent heartbeat."""

    name: str
    queues: list[str]
    slots: int
    busy: int
    seen_at: datetime
    is_stale: bool


def read_workers(*, now: datetime, limit: int = 200) -> list[WorkerStatistics]:
    """Return the worker processes by name; web processes have no queues.

    A worker has no slots while it cannot store results.
    """
    rows = Worker.objects.filter(Q(slots__gt=0) | ~Q(queues=[]))
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
        for row in rows.order_by("name")[:limit]
    ]
