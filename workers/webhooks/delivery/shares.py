"""Who gets the free slots: so that no target and no tenant can take them all. Pure.

The rule is that of switches which share one buffer among ports ("dynamic threshold"):
nobody may hold more than a multiple of what is still free. A slow target fills up to
its share and stops there; a newcomer always finds a slot.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

# A receiver should not meet more at once, however many slots there are; an endpoint
# may be given another number.
MAX_PER_TARGET = 10
TENANT_MULTIPLE = 4  # alone, a tenant gets four fifths of the slots


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """A delivery whose time has come."""

    id: UUID
    tenant_id: UUID
    target: str
    endpoint_id: UUID | None = None
    most: int = MAX_PER_TARGET
    circuit: str = "closed"


@dataclass(slots=True, kw_only=True)
class InFlightCounts:
    """How many deliveries are on their way now, by target and by tenant."""

    by_target: Counter[str] = field(default_factory=Counter)
    by_tenant: Counter[UUID] = field(default_factory=Counter)

    def add(self, *, tenant_id: UUID, target: str, number: int = 1) -> None:
        """Count some more."""
        self.by_target[target] += number
        self.by_tenant[tenant_id] += number


def choose(
    due: Iterable[DueDelivery], *, held: InFlightCounts, slots: int
) -> list[DueDelivery]:
    """Return what may start now, in the order given; counts it in ``held``."""
    chosen = []
    for each in due:
        free = slots - held.by_tenant.total()
        if free <= 0:
            break
        if _may_start(each, held=held, free=free):
            held.add(tenant_id=each.tenant_id, target=each.target)
            chosen.append(each)
    return chosen


def _may_start(due: DueDelivery, *, held: InFlightCounts, free: int) -> bool:
    return (
        held.by_target[due.target] < min(due.most, free)
        and held.by_tenant[due.tenant_id] < TENANT_MULTIPLE * free
    )
