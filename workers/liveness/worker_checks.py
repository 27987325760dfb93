"""The liveness parts of a Celery worker.

``consumer``: the event loop runs (``consumer_check``). ``intake``: messages waiting in
the broker are consumed while threads are free. ``pool``: a thread is free, as one
always should be (``tasks.SPARE_THREADS``). ``leases``: the heartbeat runs.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from amqp.exceptions import ChannelError
from celery.worker import state
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from jobs.scheduling.capacity import QUEUE_PREFIX
from workers.liveness.liveness_writer import get_liveness_writer
from workers.webhooks.delivery.dispatch import is_webhook_queue

CHECK_SECONDS = 5.0
# Longer than an unresponsive broker may delay a part (socket_timeout).
PARTS = {"consumer": 60.0, "intake": 45.0, "pool": 90.0, "leases": 90.0}
_BROKER_ERRORS = (OperationalError, RedisError, OSError)


def begin(consumer: Any, queues: Sequence[str], *, slots: int) -> None:
    """Start the liveness file and the broker check of a worker."""
    get_liveness_writer().begin(*roles_of(queues), parts=PARTS)
    check = BrokerCheck(consumer.app, queues, slots=slots)
    submit = consumer.controller.pool.executor.submit
    threading.Thread(
        target=_run_checks, args=(submit, check), name="check", daemon=True
    ).start()


def roles_of(queues: Sequence[str]) -> list[str]:
    """Return the probe roles of a worker with these queues."""
    is_transcriber = any(queue.startswith(QUEUE_PREFIX) for queue in queues)
    is_deliverer = any(map(is_webhook_queue, queues))
    return ["worker"] * is_transcriber + ["webhooks"] * is_deliverer


def leave() -> None:
    """Check only the leases during a warm shutdown."""
    get_liveness_writer().drop("consumer", "intake", "pool")


class BrokerCheck:
    """Checks on a pool thread that waiting messages are consumed."""

    def __init__(self, app: Any, queues: Sequence[str], *, slots: int) -> None:
        options = {"socket_timeout": 2, "socket_connect_timeout": 2}
        self._connection = app.connection_for_read(transport_options=options)
        self._queues = queues
        self._slots = slots
        self._consumed = 0

    def __call__(self) -> None:
        """Mark the parts that work; an unavailable broker counts as working."""
        writer = get_liveness_writer()
        writer.mark("pool")
        try:
            waiting = self._count_waiting()
        except _BROKER_ERRORS:
            self._connection.collect()
            writer.mark("consumer")
            writer.mark("intake")
            return
        consumed = sum(state.total_count.values())
        is_full = len(state.reserved_requests) >= self._slots
        if not waiting or is_full or consumed != self._consumed:
            writer.mark("intake")
        self._consumed = consumed

    def _count_waiting(self) -> int:
        waiting = 0
        for queue in self._queues:
            with suppress(ChannelError):  # Redis deletes empty lists
                channel = self._connection.default_channel
                waiting += channel.queue_declare(queue, passive=True).message_count
        return waiting


def _run_checks(submit: Any, check: BrokerCheck) -> None:
    last: Future[None] | None = None
    while True:
        if last is None or last.done():
            try:
                last = submit(check)
            except RuntimeError:  # the pool shut down
                return
        time.sleep(CHECK_SECONDS)
