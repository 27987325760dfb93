"""Limit slow statements: their duration, and the number per tenant.

All requests of a process share a few connections. Without a limit, one tenant's slow
searches use all of them, and every other request waits for seconds.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from jobs.concurrency import thread_limits
from jobs.concurrency.fair_slots import FairSlots
from jobs.errors import ServiceUnavailable

# Out of DB_POOL_SIZE connections of the process. One tenant gets at most three.
SLOW_AT_ONCE = 4
WAIT_SECONDS = 10.0
_slots = FairSlots(SLOW_AT_ONCE)


@contextmanager
def slow_statement_slot(tenant_id: Hashable) -> Iterator[None]:
    """Wait until the tenant runs few slow statements, then run the block.

    Raises ServiceUnavailable if too many of the tenant's requests are waiting.
    """
    if not connection.in_atomic_block:
        connection.close()  # return it to the pool: the wait may be long
    with (
        thread_limits.reserve_waiting_thread(tenant_id) as may_wait,
        _slots.acquire(tenant_id, timeout=WAIT_SECONDS if may_wait else 0) as has_slot,
    ):
        if not has_slot:
            message = "Too many searches and reports are running; retry shortly."
            raise ServiceUnavailable(message)
        yield


@contextmanager
def limit_statements(seconds: float) -> Iterator[None]:
    """Run the block in a transaction with this timeout for each statement."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [as_setting(seconds)]
        )
        yield


def as_setting(seconds: float) -> str:
    """Return the value of ``statement_timeout``."""
    return f"{round(seconds * 1000)}ms"


def is_timeout(error: OperationalError) -> bool:
    """Return whether PostgreSQL canceled the statement at its timeout."""
    return isinstance(error.__cause__, QueryCanceled)
