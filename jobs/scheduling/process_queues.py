"""One queue per worker process, and the assignment of claims to processes.

A process gets one message per tick with all its claims: a message costs Celery more
than a claim. There are never more claims than it can start immediately.
"""

import heapq
from collections.abc import Mapping
from typing import Any

from kombu import Exchange, Queue

_PREFIX = "process."


def queue_of_process(name: str) -> str:
    """Return the name of a process's queue."""
    return f"{_PREFIX}{name}"


def build_queue(name: str) -> Queue:
    """Return a process's queue, on the default exchange.

    A named exchange would leave a binding in Redis for every process that ever ran.
    """
    queue = queue_of_process(name)
    return Queue(queue, exchange=Exchange(""), routing_key=queue)


def choose_processes(number: int, *, free: Mapping[str, int]) -> list[str]:
    """Return the process of each of ``number`` claims, the freest first. Pure.

    ``free`` has the free slots by process; the result is shorter if they are too few.
    """
    heap = [(-slots, name) for name, slots in free.items() if slots > 0]
    heapq.heapify(heap)
    chosen: list[str] = []
    while heap and len(chosen) < number:
        slots, name = heap[0]
        chosen.append(name)
        if slots < -1:
            heapq.heapreplace(heap, (slots + 1, name))
        else:
            heapq.heappop(heap)
    return chosen


def message_to(name: str) -> dict[str, Any]:
    """Return the options of ``dispatch.publish`` that address a process."""
    # Nothing to declare: Redis creates a list at the first message.
    return {"queue": build_queue(name), "declare": [], "priority": 0}
