"""Whose turn it is: tenants by weighted share of what is in flight.

Pure. The rule is weighted max-min over places in use: the next place goes to the tenant
that, with it, would hold the least for its weight. A tenant's backlog, however large or
urgent, changes nothing about anybody else's turn.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

MAX_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLoad:
    """A tenant with work that could run: what it has in flight and may have."""

    tenant: UUID
    weight: int
    in_flight: int
    max_in_flight: int | None = None
    # When it last had a turn, as a rising number; 0 is never.
    last_turn: int = 0


class RoundRobin:
    """Remembers who had the last turns, so that equals take turns from tick to tick.

    Without it, where there are more tenants than places, whoever a tie puts first would
    be served again and again. Kept in memory: losing it costs nobody more than a turn.
    """

    def __init__(self) -> None:
        self._last: dict[UUID, int] = {}
        self._serial = 0

    def last_turn_of(self, tenant: UUID) -> int:
        """Return when the tenant last had a turn; 0 is never."""
        return self._last.get(tenant, 0)

    def note(self, tenants: Iterable[UUID]) -> None:
        """Note turns as they are taken."""
        for tenant in tenants:
            self._serial += 1
            # Taken out first, so that the dict stays in the order of the turns.
            self._last.pop(tenant, None)
            self._last[tenant] = self._serial
        while len(self._last) > MAX_REMEMBERED:
            del self._last[next(iter(self._last))]


def next_tenants(loads: Iterable[TenantLoad], *, places: int) -> list[UUID]:
    """Return the tenants whose turns the next places are, in order.

    Every tenant is taken to have enough work; ties go to whoever waited longest.
    """
    waiting = [
        _place(load, load.in_flight, load.last_turn)
        for load in loads
        if _has_room(load, 0)
    ]
    heapq.heapify(waiting)
    now = max((last for _, last, _, _, _ in waiting), default=0)
    turns: list[UUID] = []
    while waiting and len(turns) < places:
        _, _, _, held, load = waiting[0]
        turns.append(load.tenant)
        if _has_room(load, held + 1 - load.in_flight):
            heapq.heapreplace(waiting, _place(load, held + 1, now + len(turns)))
        else:
            heapq.heappop(waiting)
    return turns


def _place(
    load: TenantLoad, held: int, last_turn: int
) -> tuple[float, int, UUID, int, TenantLoad]:
    return ((held + 1) / load.weight, last_turn, load.tenant, held, load)


def _has_room(load: TenantLoad, granted: int) -> bool:
    limit = load.max_in_flight
    return limit is None or load.in_flight + granted < limit
