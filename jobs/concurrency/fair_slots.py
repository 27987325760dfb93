"""Slots that tenants wait for, so that no tenant can hold all of them.

A tenant alone may hold all slots but one: the next tenant starts without a wait. While
other tenants wait, a tenant may hold at most half of the slots. A free slot goes to the
waiting tenant that holds the fewest, then to the one that waits longest.
"""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition


@dataclass(eq=False, slots=True)
class _Waiter:
    tenant: Hashable
    has_slot: bool = False


class FairSlots:
    """Counts the slots of each tenant, and who waits for one."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._held: Counter[Hashable] = Counter()
        self._waiting: list[_Waiter] = []
        self._changed = Condition()

    @contextmanager
    def take(self, tenant: Hashable, *, timeout: float) -> Iterator[bool]:
        """Hold a slot while the block runs; False where none was free in time."""
        has_slot = self._acquire(tenant, timeout)
        try:
            yield has_slot
        finally:
            if has_slot:
                self._release(tenant)

    def _acquire(self, tenant: Hashable, timeout: float) -> bool:
        waiter = _Waiter(tenant)
        with self._changed:
            self._waiting.append(waiter)
            self._assign()
            try:
                self._changed.wait_for(lambda: waiter.has_slot, timeout)
            finally:
                if not waiter.has_slot:
                    self._waiting.remove(waiter)
                    # The others may now be the only ones that wait.
                    self._assign()
        return waiter.has_slot

    def _release(self, tenant: Hashable) -> None:
        with self._changed:
            self._held[tenant] -= 1
            if not self._held[tenant]:
                del self._held[tenant]
            self._assign()

    def _assign(self) -> None:
        """Give each free slot to the next waiter; to be called with the lock held."""
        is_assigned = False
        while waiter := self._choose_next():
            self._waiting.remove(waiter)
            self._held[waiter.tenant] += 1
            waiter.has_slot = is_assigned = True
        if is_assigned:
            self._changed.notify_all()

    def _choose_next(self) -> _Waiter | None:
        if self._held.total() >= self._slots:
            return None
        # The first of equals in the list is the one that has waited longest.
        fitting = filter(self._may_start, self._waiting)
        return min(fitting, key=lambda it: self._held[it.tenant], default=None)

    def _may_start(self, waiter: _Waiter) -> bool:
        held = self._held[waiter.tenant]
        is_alone = all(other.tenant == waiter.tenant for other in self._waiting)
        most = self._slots - 1 if is_alone else self._slots // 2
        return held < max(1, most)
