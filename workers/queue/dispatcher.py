"""The dispatcher's loop: one tick after another, woken early when there is news.

What a tick does lives with what it moves (``jobs.scheduling.dispatch``, ``webhooks.dispatch``).
"""

import logging
import threading
import time
from contextlib import suppress
from datetime import datetime

import redis
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from redis.client import PubSub

from jobs.scheduling import dispatch
from workers import metrics
from workers.liveness import process_rows
from workers.liveness.liveness_writer import get_liveness_writer
from workers.queue import batch_sweeper
from workers.ratelimit.permits import get_permits
from workers.webhooks.delivery import dispatch as webhook_dispatch

logger = logging.getLogger(__name__)

# News comes in bursts; one tick serves what arrives within this time.
SETTLE_SECONDS = 0.002
# Between two calls for whoever ends lost sessions, and how old one may grow.
CALL_CLOSERS_SECONDS = 1
LATE_SECONDS = 10
# The next tick while deliveries flow: a receiver answers in milliseconds.
DRAIN_SECONDS = 0.02
# How long each may show no progress; one send waits 30 s for a Redis that is frozen.
PARTS = {"tick": 60.0, "batches": 180.0}


def run(*, stop: threading.Event, only_region: str | None = None) -> None:
    """Tick until ``stop`` is set; nothing that is away for a while ends the loop."""
    get_liveness_writer().begin("dispatcher", parts=PARTS)
    with batch_sweeper.run_in_thread(stop):
        _tick_on(stop, only_region)
    process_rows.withdraw()


def _tick_on(stop: threading.Event, only_region: str | None) -> None:
    up_since: datetime | None = None
    permits = get_permits()
    wake_ups = WakeUps()
    closers = LiveSessionCloser()
    while not stop.is_set():
        began = time.monotonic()
        is_second, pause = False, settings.TICK_SECONDS
        try:
            # May wait long for a database that is away: what ran out meanwhile gets a
            # full lease to be renewed from the moment that it is back.
            connection.ensure_connection()
            up_since = up_since or timezone.now()
            ticked = dispatch.tick(
                permits=permits, only_region=only_region, up_since=up_since
            )
            is_second = ticked.is_crowded
            if ticked.has_lost_live:
                closers.call()
            if webhook_dispatch.tick(now=timezone.now(), region=only_region):
                pause = DRAIN_SECONDS  # what was sent makes room for more, soon
            if not is_second:
                metrics.TICK.observe(time.monotonic() - began)
                metrics.CLAIMED.inc(len(ticked.claimed))
            process_rows.announce("dispatcher")
        except (DatabaseError, InterfaceError):
            logger.warning("database away, tick skipped", exc_info=True)
            connection.close()
            up_since = None
        get_liveness_writer().mark("tick")
        left = max(0.0, began + pause - time.monotonic())
        if is_second:  # the news is for the other one
            stop.wait(left)
            continue
        stop.wait(min(left, SETTLE_SECONDS))
        wake_ups.wait(max(0.0, left - SETTLE_SECONDS))


class LiveSessionCloser:
    """Calls whoever ends lost live sessions: a worker, as that takes its time."""

    def __init__(self) -> None:
        self._not_before = 0.0

    def call(self) -> None:
        """Send for one, a second apart; one that does not come is called again."""
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + CALL_CLOSERS_SECONDS
        with suppress(*dispatch.BROKER_AWAY):
            dispatch.publish(dispatch.CLOSE_LIVE_TASK, expires=LATE_SECONDS)


class WakeUps:
    """News on Redis' channel; without Redis, only the clock."""

    def __init__(self) -> None:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1)
        self._channel: PubSub = client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )

    def wait(self, seconds: float) -> None:
        """Return at the first wake-up, or when the time is over."""
        until = time.monotonic() + seconds
        try:
            if not self._channel.subscribed:
                self._channel.subscribe(dispatch.WAKE_CHANNEL)
            while (left := until - time.monotonic()) > 0:
                if self._channel.get_message(timeout=left):
                    return
        except redis.RedisError:
            time.sleep(max(0.0, until - time.monotonic()))
