"""Limit how many web threads may block on waiting clients, slow uploads and downloads.

A WSGI server has a fixed number of threads. Requests that wait for a job's end share
one semaphore; bodies that arrive or are probed share another, downloads a third. The
remaining threads serve ordinary requests, which therefore never wait for a thread.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import cache

from django.conf import settings

from jobs.concurrency import request_slots
from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.errors import ServiceUnavailable


@contextmanager
def reserve_waiting_thread(tenant_id: Hashable) -> Iterator[bool]:
    """Yield whether this thread may wait for a job while the block runs."""
    request_slots.release()
    semaphore = waiting_requests()
    may_wait = semaphore.acquire(tenant_id)
    try:
        yield may_wait
    finally:
        if may_wait:
            semaphore.release(tenant_id)


@contextmanager
def reserve_probing_thread(tenant_id: Hashable) -> Iterator[None]:
    """Let this thread probe audio while the block runs, or raise ServiceUnavailable.

    Probe slots are few and a hostile file takes long, so threads wait for a slot.
    """
    request_slots.release()
    semaphore = arriving_bodies()
    if not semaphore.acquire(tenant_id):
        raise ServiceUnavailable("Too many uploads are being checked; retry shortly.")
    try:
        yield
    finally:
        semaphore.release(tenant_id)


@cache
def waiting_requests() -> FairSemaphore:
    """Return the semaphore of requests that wait for a job's end."""
    return FairSemaphore(settings.MAX_WAITING_REQUESTS)


@cache
def arriving_bodies() -> FairSemaphore:
    """Return the semaphore of request bodies that are still arriving."""
    return FairSemaphore(settings.MAX_ARRIVING_BODIES)


@cache
def downloads() -> FairSemaphore:
    """Return the semaphore of responses that are generated while they are sent."""
    return FairSemaphore(settings.MAX_DOWNLOADS)
