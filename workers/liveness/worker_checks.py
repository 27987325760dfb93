"""A Celery worker's parts: does it consume, does its pool run, are leases renewed?

``consumer``: the event loop turns (``consumer.py``). ``intake``: what waits in the
broker is taken while threads are free. ``pool``: a thread is free for a moment's work,
as one always is (``tasks.SPARE_THREADS``). ``leases``: ``workers.liveness.heartbeat``.
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

LOOK_SECONDS = 5.0
# Longer than a broker that does not answer may hold a part up (socket_timeout).
PARTS = {"consumer": 60.0, "intake": 45.0, "pool": 90.0, "leases": 90.0}
_AWAY = (OperationalError, RedisError, OSError)


def begin(consumer: Any, queues: Sequence[str], *, slots: int) -> None:
    """Have the worker show its pulse."""
    get_liveness_writer().begin(*roles_of(queues), parts=PARTS)
    look = BrokerCheck(consumer.app, queues, slots=slots)
    submit = consumer.controller.pool.executor.submit
    threading.Thread(
        target=_keep_looking, args=(submit, look), name="look", daemon=True
    ).start()


def roles_of(queues: Sequence[str]) -> list[str]:
    """Return what a probe calls a worker of these queues."""
    transcribes = any(queue.startswith(QUEUE_PREFIX) for queue in queues)
    delivers = any(map(is_webhook_queue, queues))
    return ["worker"] * transcribes + ["webhooks"] * delivers


def leave() -> None:
    """Expect only leases to be renewed: what runs runs to its end."""
    get_liveness_writer().drop("consumer", "intake", "pool")


class BrokerCheck:
    """Asks the broker, on a thread of the pool, whether anything waits in vain."""

    def __init__(self, app: Any, queues: Sequence[str], *, slots: int) -> None:
        options = {"socket_timeout": 2, "socket_connect_timeout": 2}
        self._connection = app.connection_for_read(transport_options=options)
        self._queues = queues
        self._slots = slots
        self._taken = 0

    def __call__(self) -> None:
        """Mark what is well; a broker that is away is not the consumer's fault."""
        pulse = get_liveness_writer()
        pulse.mark("pool")
        try:
            waiting = self._count_waiting()
        except _AWAY:
            self._connection.collect()
            pulse.mark("consumer")
            pulse.mark("intake")
            return
        taken = sum(state.total_count.values())
        is_full = len(state.reserved_requests) >= self._slots
        if not waiting or is_full or taken != self._taken:
            pulse.mark("intake")
        self._taken = taken

    def _count_waiting(self) -> int:
        waiting = 0
        for queue in self._queues:
            with suppress(ChannelError):  # an empty list is none on Redis
                channel = self._connection.default_channel
                waiting += channel.queue_declare(queue, passive=True).message_count
        return waiting


def _keep_looking(submit: Any, look: BrokerCheck) -> None:
    last: Future[None] | None = None
    while True:
        if last is None or last.done():
            try:
                last = submit(look)
            except RuntimeError:  # the pool ends
                return
        time.sleep(LOOK_SECONDS)
