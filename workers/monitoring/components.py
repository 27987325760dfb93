"""How each part of the platform is, in a word and a sentence: for ``/health``.

Names no tenant, no address and no job.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils import timezone

from jobs.models import Beacon
from workers.liveness.worker_checks import roles_of
from workers.monitoring.backlog import read_backlog
from workers.monitoring.cached_reads import kept
from workers.monitoring.regions import RegionStatistics, read_regions
from workers.monitoring.workers import read_workers
from workers.ratelimit.permits import get_permit_reader

# After how long without a word each is taken for lost.
SILENT = {"dispatcher": timedelta(seconds=10), "beat": timedelta(seconds=30)}
OLD = timedelta(minutes=10)


class ComponentState(StrEnum):
    """How a part is."""

    OK = "ok"
    DEGRADED = "degraded"
    AWAY = "away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part, and for operators what is known of it."""

    name: str
    state: ComponentState
    says: str


@kept(2)
def read_components() -> list[Component]:
    """Look at everything that is not this process; raises DatabaseError."""
    now = timezone.now()
    regions = read_regions(permits=get_permit_reader())
    return [
        _redis(regions),
        *_workers(now),
        *_beacons(now),
        _regions(regions, now),
        _queue(now),
    ]


def _redis(regions: list[RegionStatistics]) -> Component:
    away = [each.region.name for each in regions if each.prerecorded is None]
    if away:
        says = f"does not answer for {', '.join(away)}: jobs are accepted and wait"
        return Component(name="redis", state=ComponentState.AWAY, says=says)
    return Component(name="redis", state=ComponentState.OK, says="answers")


def _workers(now: datetime) -> Iterator[Component]:
    alive = [each for each in read_workers(now=now) if not each.is_stale]
    for role, name in (("worker", "workers"), ("webhooks", "webhooks")):
        ours = [each for each in alive if role in roles_of(each.queues)]
        slots, busy = sum(it.slots for it in ours), sum(it.busy for it in ours)
        says = f"{len(ours)} alive, {busy} of {slots} slots busy"
        yield Component(
            name=name,
            state=ComponentState.OK if ours else ComponentState.AWAY,
            says=says,
        )


def _beacons(now: datetime) -> Iterator[Component]:
    seen: dict[str, datetime] = {}
    for role, at in Beacon.objects.values_list("role", "seen_at"):
        seen[role] = max(at, seen.get(role, at))
    for role, silent in SILENT.items():
        if role not in seen:
            yield Component(name=role, state=ComponentState.AWAY, says="never heard of")
            continue
        age = max(timedelta(), now - seen[role])
        state = ComponentState.AWAY if age > silent else ComponentState.OK
        says = f"last round {age.total_seconds():.0f} s ago"
        yield Component(name=role, state=state, says=says)


def _regions(regions: list[RegionStatistics], now: datetime) -> Component:
    states = {each.region.name: each.state(now=now) for each in regions}
    well = [name for name, state in states.items() if state in {"well", "pinned"}]
    state = ComponentState.DEGRADED if well else ComponentState.AWAY
    if len(well) == len(states) and states:
        state = ComponentState.OK
    says = (
        ", ".join(f"{name}: {how}" for name, how in states.items()) or "there is none"
    )
    return Component(name="regions", state=state, says=says)


def _queue(now: datetime) -> Component:
    backlog = read_backlog()
    age = backlog.age(now=now)
    about = "about " if backlog.is_estimate else ""
    says = f"{about}{backlog.jobs:,} jobs could run"
    if backlog.jobs:
        says += f", the oldest since {age.total_seconds():.0f} s"
    state = ComponentState.DEGRADED if age > OLD else ComponentState.OK
    return Component(name="queue", state=state, says=says)
