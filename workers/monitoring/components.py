"""State and detail of each component, for ``/health``.

Contains no names of tenants, no addresses and no jobs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db.models import Max

from jobs.models import Beacon
from jobs.scheduling.capacity import queue_of
from workers.liveness.worker_checks import roles_of
from workers.monitoring.backlog import read_backlog
from workers.monitoring.cached_reads import cached
from workers.monitoring.regions import RegionStatistics, read_regions
from workers.monitoring.stores import (
    can_store_uploads,
    is_database_writable,
    is_storage_available,
    read_clock,
)
from workers.monitoring.workers import read_workers
from workers.ratelimit.permits import get_permit_reader

# A component is away after this long without a heartbeat.
MAX_SILENCE = {"dispatcher": timedelta(seconds=10), "beat": timedelta(seconds=30)}
MAX_AGE = timedelta(minutes=10)


class ComponentState(StrEnum):
    """The states of a component."""

    OK = "ok"
    DEGRADED = "degraded"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component; ``detail`` is shown to operators only."""

    name: str
    state: ComponentState
    detail: str


@cached(2)
def read_components() -> list[Component]:
    """Return all components except this process; raises DatabaseError."""
    now = read_clock()
    regions = read_regions(permits=get_permit_reader())
    return [
        *list_processes_and_stores(regions, now=now),
        _regions(regions, now),
        _queue(now),
    ]


def list_processes_and_stores(
    regions: list[RegionStatistics], *, now: datetime
) -> list[Component]:
    """Return the components except regions and queue; raises DatabaseError.

    Of a read-only database only itself: heartbeats cannot be renewed in it.
    """
    if not is_database_writable():
        detail = "accepts no writes: requests are rejected and no job starts"
        away = ComponentState.AWAY
        return [Component(name="database", state=away, detail=detail)]
    return [_redis(regions), _storage(), *_workers(regions, now), *_beacons(now)]


def _redis(regions: list[RegionStatistics]) -> Component:
    away = [item.region.name for item in regions if item.prerecorded is None]
    if away:
        detail = f"does not respond for {', '.join(away)}: jobs are accepted and wait"
        return Component(name="redis", state=ComponentState.AWAY, detail=detail)
    full = [item.region.name for item in regions if not item.is_writable]
    if full:
        detail = f"rejects writes for {', '.join(full)}: jobs are accepted and wait"
        return Component(name="redis", state=ComponentState.DEGRADED, detail=detail)
    return Component(name="redis", state=ComponentState.OK, detail="responds")


def _storage() -> Component:
    state, detail = ComponentState.OK, "stores"
    if not is_storage_available():
        state = ComponentState.AWAY
        detail = "stores nothing: uploads are rejected and no job starts"
    elif not can_store_uploads():
        state = ComponentState.DEGRADED
        detail = "the folder of incoming uploads takes nothing: uploads are rejected"
    return Component(name="storage", state=state, detail=detail)


def _workers(regions: list[RegionStatistics], now: datetime) -> Iterator[Component]:
    alive = [worker for worker in read_workers(now=now) if not worker.is_stale]
    served = {queue for worker in alive for queue in worker.queues}
    open_names = [
        item.region.name
        for item in regions
        if item.region.is_enabled and not item.region.is_drained
    ]
    without = [name for name in open_names if queue_of(name) not in served]
    for role, name in (("worker", "workers"), ("webhooks", "webhooks")):
        workers = [worker for worker in alive if role in roles_of(worker.queues)]
        slots = sum(worker.slots for worker in workers)
        busy = sum(worker.busy for worker in workers)
        detail = f"{len(workers)} alive, {busy} of {slots} slots busy"
        state = ComponentState.OK
        if not workers:
            state, detail = ComponentState.AWAY, "none is alive"
        if workers and without and role == "worker":
            state = ComponentState.DEGRADED
            detail += f"; none in {', '.join(without)}"
        yield Component(name=name, state=state, detail=detail)


def _beacons(now: datetime) -> Iterator[Component]:
    seen = read_beacons()
    for role, max_silence in MAX_SILENCE.items():
        if role not in seen:
            yield Component(
                name=role, state=ComponentState.AWAY, detail="no heartbeat yet"
            )
            continue
        age = max(timedelta(), now - seen[role])
        state = ComponentState.AWAY if age > max_silence else ComponentState.OK
        detail = f"last heartbeat {age.total_seconds():.0f} s ago"
        yield Component(name=role, state=state, detail=detail)


def read_beacons() -> dict[str, datetime]:
    """Return the last heartbeat of the dispatchers and of beat, by role."""
    latest = Beacon.objects.values("role").annotate(at=Max("seen_at"))
    return dict(latest.values_list("role", "at"))


def _regions(regions: list[RegionStatistics], now: datetime) -> Component:
    states = {item.region.name: item.state(now=now) for item in regions}
    healthy = [name for name, state in states.items() if state in {"well", "pinned"}]
    state = ComponentState.DEGRADED if healthy else ComponentState.AWAY
    if len(healthy) == len(states) and states:
        state = ComponentState.OK
    detail = (
        ", ".join(f"{name}: {value}" for name, value in states.items()) or "no region"
    )
    return Component(name="regions", state=state, detail=detail)


def _queue(now: datetime) -> Component:
    backlog = read_backlog()
    age = backlog.age(now=now)
    about = "about " if backlog.is_estimate else ""
    detail = f"{about}{backlog.jobs:,} jobs ready to run"
    if backlog.closed:
        detail += f", {backlog.closed:,} wait for a region that is closed"
    if backlog.jobs:
        detail += f", the oldest for {age.total_seconds():.0f} s"
    is_late = age > MAX_AGE or backlog.closed > 0
    state = ComponentState.DEGRADED if is_late else ComponentState.OK
    return Component(name="queue", state=state, detail=detail)
