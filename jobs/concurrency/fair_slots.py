"""A fair semaphore with a queue, within one process: no tenant can use all slots.

One tenant alone may use all slots but one, so the next tenant starts without waiting.
While other tenants wait, a tenant may use at most half of the slots. A free slot goes
to the waiting tenant with the fewest slots, then to the one that waits longest.
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
    """Counts the slots of each tenant and queues its waiters. Thread-safe."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._used: Counter[Hashable] = Counter()
        self._waiting: list[_Waiter] = []
        self._changed = Condition()

    @contextmanager
    def acquire(self, tenant: Hashable, *, timeout: float) -> Iterator[bool]:
        """Use a slot while the block runs; yields False after ``timeout`` seconds."""
        has_slot = self._wait(tenant, timeout)
        try:
            yield has_slot
        finally:
            if has_slot:
                self._release(tenant)

    def _wait(self, tenant: Hashable, timeout: float) -> bool:
        waiter = _Waiter(tenant)
        with self._changed:
            self._waiting.append(waiter)
            self._assign()
            try:
                self._changed.wait_for(lambda: waiter.has_slot, timeout)
            finally:
                if not waiter.has_slot:
                    self._waiting.remove(waiter)
                    # Only one tenant may be left waiting, which raises its share.
                    self._assign()
        return waiter.has_slot

    def _release(self, tenant: Hashable) -> None:
        with self._changed:
            self._used[tenant] -= 1
            if not self._used[tenant]:
                del self._used[tenant]
            self._assign()

    def _assign(self) -> None:
        """Assign free slots to the next waiters; call it with the lock held."""
        is_assigned = False
        while waiter := self._choose_next():
            self._waiting.remove(waiter)
            self._used[waiter.tenant] += 1
            waiter.has_slot = is_assigned = True
        if is_assigned:
            self._changed.notify_all()

    def _choose_next(self) -> _Waiter | None:
        if self._used.total() >= self._slots:
            return None
        # ``min`` returns the first of equals, which has waited longest.
        eligible = filter(self._may_start, self._waiting)
        return min(eligible, key=lambda each: self._used[each.tenant], default=None)

    def _may_start(self, waiter: _Waiter) -> bool:
        is_alone = all(other.tenant == waiter.tenant for other in self._waiting)
        limit = self._slots - 1 if is_alone else self._slots // 2
        return self._used[waiter.tenant] < max(1, limit)
