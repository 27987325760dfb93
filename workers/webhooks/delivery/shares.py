"""Share free delivery slots among targets and tenants. Pure.

Uses the dynamic threshold of shared-buffer switches: the limit of one target or tenant
is a multiple of the slots still free. A slow target fills its share and stops there; a
new one always finds a slot. https://doi.org/10.1109/90.664262
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

# Concurrent requests to one receiver unless its endpoint sets ``max_concurrent``.
MAX_PER_TARGET = 10
TENANT_MULTIPLE = 4  # a single tenant gets four fifths of the slots


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """A delivery whose next attempt is due."""

    id: UUID
    tenant_id: UUID
    target: str
    endpoint_id: UUID | None = None
    max_concurrent: int = MAX_PER_TARGET
    circuit: str = "closed"


@dataclass(slots=True, kw_only=True)
class InFlightCounts:
    """Deliveries in flight, by target, by tenant and by worker process."""

    by_target: Counter[str] = field(default_factory=Counter)
    by_tenant: Counter[UUID] = field(default_factory=Counter)
    by_process: Counter[str] = field(default_factory=Counter)

    def add(self, *, tenant_id: UUID, target: str, number: int = 1) -> None:
        """Count ``number`` more."""
        self.by_target[target] += number
        self.by_tenant[tenant_id] += number


def choose(
    due: Iterable[DueDelivery], *, in_flight: InFlightCounts, slots: int
) -> list[DueDelivery]:
    """Return the deliveries that may start, in order; adds them to ``in_flight``."""
    chosen = []
    for delivery in due:
        free = slots - in_flight.by_tenant.total()
        if free <= 0:
            break
        if _may_start(delivery, in_flight=in_flight, free=free):
            in_flight.add(tenant_id=delivery.tenant_id, target=delivery.target)
            chosen.append(delivery)
    return chosen


def _may_start(due: DueDelivery, *, in_flight: InFlightCounts, free: int) -> bool:
    return (
        in_flight.by_target[due.target] < min(due.max_concurrent, free)
        and in_flight.by_tenant[due.tenant_id] < TENANT_MULTIPLE * free
    )
