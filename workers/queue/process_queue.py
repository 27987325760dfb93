"""Consume a queue of this process, besides those of the command line.

https://docs.celeryq.dev/en/stable/userguide/signals.html#celeryd-after-setup
"""

import logging
from typing import Any

from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from jobs.scheduling.process_queues import build_queue, queue_of_process
from workers.liveness.process_rows import PROCESS_NAME

logger = logging.getLogger(__name__)


def consume_own_queue(instance: Any, **_kwargs: Any) -> None:
    """Add the process's queue to those that the worker consumes."""
    queue = build_queue(PROCESS_NAME)
    exchange = queue.exchange
    # Celery replaces the default exchange by its own named one.
    instance.app.amqp.queues.select_add(queue).exchange = exchange


def delete_own_queue(**_kwargs: Any) -> None:
    """Delete the queue at a normal exit; its claims return to the backlog."""
    delete_queue(PROCESS_NAME)


def delete_queue(process: str) -> None:
    """Delete the queue of a process that ended; its messages are stale."""
    try:
        with current_app.connection_for_write() as broker:
            channel: Any = broker.default_channel
            channel.queue_delete(queue_of_process(process))
    except (OperationalError, RedisError, OSError):
        logger.warning("queue not deleted", extra={"worker": process})
