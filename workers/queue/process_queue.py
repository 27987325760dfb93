"""Consume a queue of this process, besides those of the command line.

https://docs.celeryq.dev/en/stable/userguide/signals.html#celeryd-after-setup
"""

from typing import Any

from jobs.scheduling import dispatch
from jobs.scheduling.process_queues import build_queue
from workers.liveness.process_rows import PROCESS_NAME


def consume_own_queue(instance: Any, **_kwargs: Any) -> None:
    """Add the process's queue to those that the worker consumes."""
    queue = build_queue(PROCESS_NAME)
    exchange = queue.exchange
    # Celery replaces the default exchange by its own named one.
    instance.app.amqp.queues.select_add(queue).exchange = exchange


def delete_own_queue(**_kwargs: Any) -> None:
    """Delete the queue at a normal exit; its claims return to the backlog."""
    dispatch.delete_process_queue(PROCESS_NAME)
