"""Whose turn it is: tenants by weighted share of what is in flight.

Pure. The rule is weighted max-min over places in use: the next place goes to the tenant
that, with it, would hold the least for its weight. A tenant's backlog, however large or
urgent, changes nothing about anybody else's turn.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A tenant with work that could run: what it has in flight and may have."""

    tenant: UUID
    weight: int
    in_flight: int
    max_in_flight: int | None = None


def next_turns(loads: Iterable[Load], *, places: int) -> list[UUID]:
    """Return the tenants whose turns the next places are, in order.

    Every tenant is taken to have enough work; ties go to whom the id puts first.
    """
    waiting = [_place(load, load.in_flight) for load in loads if _has_room(load, 0)]
    heapq.heapify(waiting)
    turns: list[UUID] = []
    while waiting and len(turns) < places:
        _, _, held, load = waiting[0]
        turns.append(load.tenant)
        if _has_room(load, held + 1 - load.in_flight):
            heapq.heapreplace(waiting, _place(load, held + 1))
        else:
            heapq.heappop(waiting)
    return turns


def _place(load: Load, held: int) -> tuple[float, UUID, int, Load]:
    return ((held + 1) / load.weight, load.tenant, held, load)


def _has_room(load: Load, granted: int) -> bool:
    limit = load.max_in_flight
    return limit is None or load.in_flight + granted < limit
