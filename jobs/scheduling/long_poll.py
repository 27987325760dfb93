"""Hold a request until its job has ended, for callers who would rather wait.

One thread a process looks for all who wait: one query, woken by the news that the
dispatcher is woken by, or after ``LOOK_SECONDS`` without any. Who waits holds no
connection; who is one too many (``jobs.concurrency.thread_limits``) is not held at all.
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

LOOK_SECONDS = 0.2
# News comes in bursts; one look serves what arrives within this time.
SETTLE_SECONDS = 0.05


def wait_for_end(job_id: UUID, *, tenant_id: UUID, seconds: float) -> bool:
    """Wait until the job is final and return True, or False when time is up.

    At once where too many wait already. Call it outside any transaction.
    """
    if not connection.in_atomic_block:
        connection.close()  # back to the pool
    with thread_limits.borrow_waiting_thread(tenant_id) as may_wait:
        return may_wait and _watch().wait(job_id, seconds=seconds)


class JobWatcher:
    """Those who wait in this process, and the thread that looks for them."""

    def __init__(self) -> None:
        self._waiting: dict[threading.Event, UUID] = {}
        self._lock = threading.Lock()
        self._is_looking = False

    def wait(self, job_id: UUID, *, seconds: float) -> bool:
        """Wait for one job."""
        ended = threading.Event()
        with self._lock:
            self._waiting[ended] = job_id
            if not self._is_looking:
                self._is_looking = True
                threading.Thread(target=self._look, daemon=True).start()
        try:
            return ended.wait(seconds)
        finally:
            with self._lock:
                del self._waiting[ended]

    def _look(self) -> None:
        """Look until nobody waits; a database that is away is asked again later."""
        news = WakeUpListener()
        try:
            while self._has_anybody():
                try:
                    self._tell()
                except (DatabaseError, InterfaceError):
                    logger.warning("database away, waiting on")
                finally:
                    connection.close()
                news.wait()
        finally:
            news.close()

    def _has_anybody(self) -> bool:
        with self._lock:
            self._is_looking = bool(self._waiting)
            return self._is_looking

    def _tell(self) -> None:
        with self._lock:
            waiting = dict(self._waiting)
        final = _find_final(waiting.values())
        for ended, job_id in waiting.items():
            if job_id in final:
                ended.set()


class WakeUpListener:
    """The dispatcher's wake-ups: a worker that is done sends one."""

    def __init__(self) -> None:
        self._redis = OptionalRedis(settings.REDIS_URL)
        self._channel: PubSub = self._redis.client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )

    def wait(self) -> None:
        """Return soon after there is news, or after ``LOOK_SECONDS``."""
        until = time.monotonic() + LOOK_SECONDS
        try:
            self._redis.ask(lambda: self._listen(until))
            time.sleep(SETTLE_SECONDS)
            self._redis.ask(self._drain)
        except RedisUnavailable:
            time.sleep(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """Leave the channel."""
        self._channel.close()
        self._redis.client.close()

    def _listen(self, until: float) -> None:
        if not self._channel.subscribed:
            self._channel.subscribe(dispatch.WAKE_CHANNEL)
        while (left := until - time.monotonic()) > 0:
            if self._channel.get_message(timeout=left):
                return

    def _drain(self) -> None:
        while self._channel.get_message(timeout=0):
            pass


def _find_final(job_ids: Iterable[UUID]) -> set[UUID]:
    ended = Job.objects.filter(pk__in=set(job_ids), status__in=sorted(FINAL))
    return set(ended.values_list("pk", flat=True))


@cache
def _watch() -> JobWatcher:
    return JobWatcher()
