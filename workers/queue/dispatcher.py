"""The dispatcher's loop: runs a tick per interval, or earlier after a wake-up.

The ticks are in ``jobs.scheduling.dispatch`` and
``workers.webhooks.delivery.dispatch``.
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

# Wake-ups come in bursts; one tick serves those within this time. Under load a longer
# one fills the messages: half of them would carry one claim.
SETTLE_SECONDS = 0.002
BUSY_SECONDS = 0.03
# The longest pause while nothing is due and wake-ups arrive.
IDLE_SECONDS = 0.5
# While the broker refuses messages (it is away, or out of memory): the first pause.
BROKER_PAUSE_SECONDS = 0.5
MAX_BROKER_PAUSE_SECONDS = 10.0
# The interval between two tasks that close lost live sessions, and their expiry.
CLOSE_LIVE_SECONDS = 1
CLOSE_LIVE_EXPIRY_SECONDS = 10
# The interval while deliveries are sent: receivers respond in milliseconds.
DRAIN_SECONDS = 0.02
# Liveness limits by part; one publication waits up to 30 s for a frozen Redis.
PARTS = {"tick": 60.0, "batches": 180.0}


def run(*, stop: threading.Event, only_region: str | None = None) -> None:
    """Run ticks until ``stop`` is set; outages of database and Redis are retried."""
    get_liveness_writer().begin("dispatcher", parts=PARTS)
    with batch_sweeper.run_in_thread(stop):
        loop = TickLoop(only_region)
        while not stop.is_set():
            loop.run_once(stop)
    process_rows.withdraw()


class TickLoop:
    """Runs the ticks of jobs and webhooks, and chooses the pauses between them."""

    def __init__(self, only_region: str | None) -> None:
        self._region = only_region
        self._permits = get_permits()
        self._wake_ups = WakeUps()
        self._closer = LiveSessionCloser()
        self._broker = BrokerPause()
        self._connected_since: datetime | None = None

    def run_once(self, stop: threading.Event) -> None:
        """Run one tick, then wait for the next or for a wake-up."""
        started_at = time.monotonic()
        ticked, pause = dispatch.TickResult(), settings.TICK_SECONDS
        try:
            ticked, pause = self._tick(started_at)
        except (DatabaseError, InterfaceError):
            logger.warning("database unavailable, tick skipped", exc_info=True)
            connection.close()
            self._connected_since = None
        get_liveness_writer().mark("tick")
        left = max(0.0, started_at + pause - time.monotonic())
        if ticked.is_second:  # wake-ups are for the leading dispatcher
            stop.wait(left)
            return
        settle = BUSY_SECONDS if len(ticked.claimed) > 1 else SETTLE_SECONDS
        stop.wait(min(left, settle))
        self._wake_ups.wait(max(0.0, left - settle))

    def _tick(self, started_at: float) -> tuple[dispatch.TickResult, float]:
        """Return the result and the pause until the next tick, in seconds."""
        # May wait long for the database. Leases that expired meanwhile get a full lease
        # time from then on, in which workers can renew them.
        connection.ensure_connection()
        self._connected_since = up_since = self._connected_since or timezone.now()
        ticked = dispatch.tick(
            permits=self._permits,
            only_region=self._region,
            up_since=up_since,
            may_claim=self._broker.is_expected,
        )
        if ticked.claimed:
            self._broker.record(is_away=ticked.is_broker_away)
        if ticked.has_lost_live:
            self._closer.request()
        deliveries = webhook_dispatch.tick(
            now=timezone.now(), up_since=up_since, region=self._region
        )
        if not ticked.is_second:
            metrics.TICK.observe(time.monotonic() - started_at)
            metrics.CLAIMED.inc(len(ticked.claimed))
        process_rows.announce("dispatcher")
        if len(deliveries) > 1:  # completed ones free slots soon
            return ticked, DRAIN_SECONDS
        if ticked.is_idle and self._wake_ups.are_expected:
            return ticked, _choose_idle_pause(ticked.next_at)
        return ticked, settings.TICK_SECONDS


def _choose_idle_pause(next_at: datetime | None) -> float:
    """Return the seconds until something is due; new work wakes the dispatcher."""
    if next_at is None:
        return IDLE_SECONDS
    left = (next_at - timezone.now()).total_seconds()
    return max(settings.TICK_SECONDS, min(IDLE_SECONDS, left))


class BrokerPause:
    """Claims nothing for a while after the broker refused messages."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._until = 0.0

    @property
    def is_expected(self) -> bool:
        """Whether the broker is expected to take messages."""
        return time.monotonic() >= self._until

    def record(self, *, is_away: bool) -> None:
        """Double the pause after each refusal; end it after a success."""
        doubled = min(MAX_BROKER_PAUSE_SECONDS, self._pause * 2)
        self._pause = max(BROKER_PAUSE_SECONDS, doubled) if is_away else 0.0
        self._until = time.monotonic() + self._pause


class LiveSessionCloser:
    """Publishes the task that closes lost live sessions, which takes long."""

    def __init__(self) -> None:
        self._not_before = 0.0

    def request(self) -> None:
        """Publish the task, at most once per second."""
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + CLOSE_LIVE_SECONDS
        with suppress(*dispatch.BROKER_AWAY):
            dispatch.publish(
                dispatch.CLOSE_LIVE_TASK, expires=CLOSE_LIVE_EXPIRY_SECONDS
            )


class WakeUps:
    """Waits for wake-ups on a Redis channel; without Redis, for the interval."""

    def __init__(self) -> None:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1)
        self._is_well = False
        self._channel: PubSub = client.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )

    @property
    def are_expected(self) -> bool:
        """Whether the subscription is established."""
        return bool(self._channel.subscribed) and self._is_well

    def wait(self, seconds: float) -> None:
        """Return at the first wake-up, or after ``seconds``."""
        until = time.monotonic() + seconds
        try:
            if not self._channel.subscribed:
                self._channel.subscribe(dispatch.WAKE_CHANNEL)
            while (left := until - time.monotonic()) > 0:
                self._is_well = True
                if self._channel.get_message(timeout=left):
                    return
        except redis.RedisError:
            self._is_well = False
            time.sleep(max(0.0, until - time.monotonic()))
