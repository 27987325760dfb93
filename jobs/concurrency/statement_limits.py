"""Limit statements that may be slow: their time, and how many one tenant has at once.

A process shares a few connections among all requests. Without a limit on their number,
one tenant's slow searches hold all of them, and every other request waits for seconds.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from jobs.concurrency import thread_limits
from jobs.concurrency.fair_slots import FairSlots
from jobs.errors import ServiceUnavailable

# Of the connections of a process, DB_POOL_SIZE. One tenant has at most three of them.
SLOW_AT_ONCE = 4
WAIT_SECONDS = 10.0
_slots = FairSlots(SLOW_AT_ONCE)


@contextmanager
def slow_statement_slot(tenant_id: Hashable) -> Iterator[None]:
    """Run the block, which may be slow, when the tenant has few such statements.

    Raises ServiceUnavailable where too many of the tenant's requests wait already.
    """
    if not connection.in_atomic_block:
        connection.close()  # back to the pool: the slot may be some time away
    with (
        thread_limits.borrow_waiting_thread(tenant_id) as may_wait,
        _slots.take(tenant_id, timeout=WAIT_SECONDS if may_wait else 0) as has_slot,
    ):
        if not has_slot:
            message = "Too many searches and reports are running; send this again."
            raise ServiceUnavailable(message)
        yield


@contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """Run the block in a transaction whose statements may take so long each."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true)", [as_setting(seconds)]
        )
        yield


def as_setting(seconds: float) -> str:
    """Return the value of ``statement_timeout``."""
    return f"{round(seconds * 1000)}ms"


def is_timeout(error: OperationalError) -> bool:
    """Tell whether PostgreSQL canceled the statement because it took too long."""
    return isinstance(error.__cause__, QueryCanceled)
