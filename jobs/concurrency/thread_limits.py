"""The threads that a web process lends to whoever keeps it waiting.

A WSGI server has so many threads and no more. Those who wait for a job's end share one
gate, whichever door they came by; bodies that are slow to arrive, and those that are
being examined, share another, and long downloads a third. What is left is for ordinary
requests, which therefore always find a thread.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings

from jobs.concurrency import request_slots
from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.errors import ServiceUnavailable


@contextmanager
def borrow_waiting_thread(tenant_id: Hashable) -> Iterator[bool]:
    """Tell whether this thread may wait, for the tenant, while the block runs."""
    request_slots.release()
    gate = waiters()
    is_lent = gate.enter(tenant_id)
    try:
        yield is_lent
    finally:
        if is_lent:
            gate.leave(tenant_id)


@contextmanager
def borrow_probing_thread(tenant_id: Hashable) -> Iterator[None]:
    """Examine audio while the block runs; raise ServiceUnavailable for one too many.

    Few are examined at a time, and a hostile file takes long: the others wait for it.
    """
    request_slots.release()
    gate = arriving_bodies()
    if not gate.enter(tenant_id):
        message = "Too many uploads are being examined; send this again shortly."
        raise ServiceUnavailable(message)
    try:
        yield
    finally:
        gate.leave(tenant_id)


@cache
def waiters() -> FairSemaphore:
    """Return the gate of those who wait for a job to end."""
    return FairSemaphore(settings.MAX_WAITING_REQUESTS)


@cache
def arriving_bodies() -> FairSemaphore:
    """Return the gate of bodies that are still arriving."""
    return FairSemaphore(settings.MAX_ARRIVING_BODIES)


@cache
def downloads() -> FairSemaphore:
    """Return the gate of answers that are made while they are sent."""
    return FairSemaphore(settings.MAX_DOWNLOADS)
