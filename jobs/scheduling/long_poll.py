"""Long polling: block a request until its job has ended (``Prefer: wait``).

One thread per process polls for all waiting requests with one query, after each
wake-up of the dispatcher or ``POLL_SECONDS``. A waiting request uses no database
connection; ``jobs.concurrency.thread_limits`` limits how many wait.
"""

import logging
import threading
import time
from collections.abc import Iterable
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from redis.client import PubSub

from jobs.concurrency import thread_limits
from jobs.models import Job
from jobs.scheduling import dispatch
from jobs.state import FINAL
from jobs.telemetry.optional_redis import OptionalRedis, RedisUnavailable

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
# Wake-ups come in bursts; one query serves those within this time.
SETTLE_SECONDS = 0.05


def wait_for_end(job_id: UUID, *, tenant_id: UUID, seconds: float) -> bool:
    """Wait until the job is final; return False on timeout or if too many wait.

    Call it outside any transaction.
    """
    if not connection.in_atomic_block:
        connection.close()  # return it to the pool
    with thread_limits.reserve_waiting_thread(tenant_id) as may_wait:
        return may_wait and _get_watcher().wait(job_id, seconds=seconds)


class JobWatcher:
    """The waiting requests of this process, and the thread that polls for them."""

    def __init__(self) -> None:
        self._waiting: dict[threading.Event, UUID] = {}
        self._lock = threading.Lock()
        self._is_polling = False

    def wait(self, job_id: UUID, *, seconds: float) -> bool:
        """Wait until the job is final; return False on timeout."""
        ended = threading.Event()
        with self._lock:
            self._waiting[ended] = job_id
            if not self._is_polling:
                self._is_polling = True
                threading.Thread(target=self._poll, daemon=True).start()
        try:
            return ended.wait(seconds)
        finally:
            with self._lock:
                del self._waiting[ended]

    def _poll(self) -> None:
        """Poll until no request waits; retry while the database is unreachable."""
        wake_ups = WakeUpListener()
        try:
            while self._has_waiters():
                try:
                    self._notify_ended()
                except (DatabaseError, InterfaceError):
                    logger.warning("database unreachable, will retry")
                finally:
                    connection.close()
                wake_ups.wait()
        finally:
            wake_ups.close()

    def _has_waiters(self) -> bool:
        with self._lock:
            self._is_polling = bool(self._waiting)
            return self._is_polling

    def _notify_ended(self) -> None:
        with self._lock:
            waiting = dict(self._waiting)
        final = _find_final(waiting.values())
        for ended, job_id in waiting.items():
            if job_id in final:
                ended.set()


class WakeUpListener:
    """Listens for the dispatcher's wake-ups, which workers send when a job ends."""

    def __init__(self) -> None:
        self._redis = OptionalRedis(settings.REDIS_URL)
        self._channel: PubSub = self._redis.client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )

    def wait(self) -> None:
        """Return shortly after a wake-up, or after ``POLL_SECONDS``."""
        deadline = time.monotonic() + POLL_SECONDS
        try:
            self._redis.call(lambda: self._listen(deadline))
            time.sleep(SETTLE_SECONDS)
            self._redis.call(self._drain)
        except RedisUnavailable:
            time.sleep(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Close the subscription and its connection."""
        self._channel.close()
        self._redis.client.close()

    def _listen(self, deadline: float) -> None:
        if not self._channel.subscribed:
            self._channel.subscribe(dispatch.WAKE_CHANNEL)
        while (timeout := deadline - time.monotonic()) > 0:
            if self._channel.get_message(timeout=timeout):
                return

    def _drain(self) -> None:
        while self._channel.get_message(timeout=0):
            pass


def _find_final(job_ids: Iterable[UUID]) -> set[UUID]:
    ended = Job.objects.filter(pk__in=set(job_ids), status__in=sorted(FINAL))
    return set(ended.values_list("pk", flat=True))


@cache
def _get_watcher() -> JobWatcher:
    return JobWatcher()
