"""Limit how many requests of one tenant a web process runs at the same time.

All requests of a process share one interpreter, so every running request slows down the
others. With this limit a tenant with many connections takes a bounded share; its
further requests wait, without a database connection. A request that waits for a
client, an upload or the upstream releases its slot first: it runs no code meanwhile.
"""

import threading
from collections.abc import Hashable
from functools import cache
from weakref import WeakValueDictionary

from django.conf import settings
from django.db import connection

from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.errors import ServiceUnavailable

WAIT_SECONDS = 10.0
# Threads of a process that may wait for a slot; one tenant can use four fifths.
MAX_WAITING = 64
_slots: WeakValueDictionary[Hashable, threading.Semaphore] = WeakValueDictionary()
_lock = threading.Lock()
# The slot of this thread's request.
_current = threading.local()


def acquire(tenant_id: Hashable) -> None:
    """Acquire a slot for this thread's request; wait while the tenant has none left.

    Raises ServiceUnavailable if too many requests of the tenant wait already, or if
    none of them ends in time.
    """
    release()
    if not settings.MAX_RUNNING_REQUESTS:
        return
    with _lock:
        slots = _slots.get(tenant_id)
        if slots is None:
            slots = threading.Semaphore(settings.MAX_RUNNING_REQUESTS)
            _slots[tenant_id] = slots
    if not (slots.acquire(blocking=False) or _wait(tenant_id, slots)):
        message = "Too many requests of your account are running. Retry shortly."
        raise ServiceUnavailable(message)
    _current.slots = slots


def release() -> None:
    """Release the slot of this thread's request, if it holds one."""
    slots: threading.Semaphore | None = getattr(_current, "slots", None)
    if slots is not None:
        _current.slots = None
        slots.release()


def _wait(tenant_id: Hashable, slots: threading.Semaphore) -> bool:
    if not connection.in_atomic_block:
        connection.close()  # returns it to the pool
    if not _waiting().acquire(tenant_id):
        return False
    try:
        return slots.acquire(timeout=WAIT_SECONDS)
    finally:
        _waiting().release(tenant_id)


@cache
def _waiting() -> FairSemaphore:
    """Return the semaphore of threads that wait for a slot."""
    return FairSemaphore(MAX_WAITING)
