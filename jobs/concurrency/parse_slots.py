"""Let one tenant's large bodies be parsed and checked one at a time.

All requests of a process share one interpreter. A body of a megabyte keeps it busy for
about 100 ms, and two dozen of them at once made every other request wait for seconds.
In turns, other tenants share the interpreter with one of them at most.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from django.db import connection

from jobs.concurrency import thread_limits
from jobs.concurrency.fair_slots import FairSlots
from jobs.errors import ServiceUnavailable

# Fewer bytes or items take a few milliseconds at most, so they need no turn.
LARGE_BYTES = 16 * 1024
MANY_ITEMS = 20
WAIT_SECONDS = 30.0
# One of a tenant, and of all tenants two.
_slots = FairSlots(2)


@contextmanager
def parse_slot(tenant_id: Hashable, *, is_large: bool) -> Iterator[bool]:
    """Run the block in the tenant's turn; at once for what is not large.

    Yields True. Raises ServiceUnavailable where too many of the tenant's bodies wait
    already.
    """
    if not is_large:
        yield True
        return
    if not connection.in_atomic_block:
        connection.close()  # back to the pool: the turn may be some time away
    with (
        thread_limits.borrow_probing_thread(tenant_id),
        _slots.take(tenant_id, timeout=WAIT_SECONDS) as has_turn,
    ):
        if not has_turn:
            message = "Too many large bodies are being read; send this again shortly."
            raise ServiceUnavailable(message)
        yield True
