"""Parse and check each tenant's large bodies one at a time.

All requests of a process share one interpreter. A body of 1 MB keeps it busy for about
100 ms, and 24 of them at once delayed all other requests for seconds.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from django.db import connection

from jobs.concurrency import thread_limits
from jobs.concurrency.fair_slots import FairSlots
from jobs.errors import ServiceUnavailable

# Smaller bodies need a few milliseconds at most, and no slot.
LARGE_BYTES = 16 * 1024
MANY_ITEMS = 20
WAIT_SECONDS = 30.0
# One per tenant, two in all.
_slots = FairSlots(2)


@contextmanager
def parse_slot(tenant_id: Hashable, *, is_large: bool) -> Iterator[bool]:
    """Wait for a slot if the body is large, then run the block. Yields True.

    Raises ServiceUnavailable if too many of the tenant's bodies are waiting.
    """
    if not is_large:
        yield True
        return
    if not connection.in_atomic_block:
        connection.close()  # return it to the pool: the wait may be long
    with (
        thread_limits.reserve_probing_thread(tenant_id),
        _slots.acquire(tenant_id, timeout=WAIT_SECONDS) as has_slot,
    ):
        if not has_slot:
            message = "Too many large request bodies are being parsed; retry shortly."
            raise ServiceUnavailable(message)
        yield True
