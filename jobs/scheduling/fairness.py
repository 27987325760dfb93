"""Order tenants by their weighted share of in-flight jobs.

Pure. The rule is weighted max-min fairness: the next slot goes to the tenant that,
with it, has the fewest jobs in flight relative to its weight. The size and priority of
a tenant's backlog do not affect other tenants.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

MAX_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLoad:
    """A tenant with jobs that can run now, and its jobs in flight."""

    tenant: UUID
    weight: int
    in_flight: int
    max_in_flight: int | None = None
    # Serial number of its last claim; 0: none.
    last_served: int = 0


class RoundRobin:
    """The order in which tenants were last served, to break ties across ticks.

    Without it, with more tenants than slots, the same tenants would win every tie. In
    memory only: losing it delays a tenant by one round.
    """

    def __init__(self) -> None:
        self._last: dict[UUID, int] = {}
        self._serial = 0

    def last_served_of(self, tenant: UUID) -> int:
        """Return the serial number of the tenant's last claim; 0: none."""
        return self._last.get(tenant, 0)

    def record(self, tenants: Iterable[UUID]) -> None:
        """Record claims in their order."""
        for tenant in tenants:
            self._serial += 1
            # Removed first, so that the dict stays sorted by serial number.
            self._last.pop(tenant, None)
            self._last[tenant] = self._serial
        while len(self._last) > MAX_REMEMBERED:
            del self._last[next(iter(self._last))]


def next_tenants(loads: Iterable[TenantLoad], *, slots: int) -> list[UUID]:
    """Return the tenants that get the next slots, in order.

    Assumes that every tenant has enough jobs; ties go to the one served least recently.
    """
    waiting = [
        _build_entry(load, load.in_flight, load.last_served)
        for load in loads
        if _has_room(load, 0)
    ]
    heapq.heapify(waiting)
    now = max((last for _, last, _, _, _ in waiting), default=0)
    order: list[UUID] = []
    while waiting and len(order) < slots:
        _, _, _, in_flight, load = waiting[0]
        order.append(load.tenant)
        if _has_room(load, in_flight + 1 - load.in_flight):
            entry = _build_entry(load, in_flight + 1, now + len(order))
            heapq.heapreplace(waiting, entry)
        else:
            heapq.heappop(waiting)
    return order


def _build_entry(
    load: TenantLoad, in_flight: int, last_served: int
) -> tuple[float, int, UUID, int, TenantLoad]:
    return ((in_flight + 1) / load.weight, last_served, load.tenant, in_flight, load)


def _has_room(load: TenantLoad, granted: int) -> bool:
    limit = load.max_in_flight
    return limit is None or load.in_flight + granted < limit
