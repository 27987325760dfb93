"""What no process can count by itself: the queue, permits, regions, workers.

Rows and ledgers that all processes share, read when Prometheus asks, at most every few
seconds and in a thread of its own, so that a database that hangs hangs no answer. The
dispatchers show it, each the same: take the maximum over them, never the sum.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jobs.scheduling.capacity import CapacitySnapshot, queue_of, read_capacity
from jobs.scheduling.claims import PermitKind
from workers.monitoring import backlog, deliveries, regions
from workers.monitoring.regions import RegionStatistics
from workers.ratelimit.permits import get_permit_reader
from workers.webhooks.delivery.dispatch import QUEUE as WEBHOOKS

logger = logging.getLogger(__name__)

FRESH_SECONDS = 2.0
# Prometheus waits for ten; then it would take us for dead.
PATIENCE_SECONDS = 3.0
MINUTE = "minute"
BREAKER_STATES = ("closed", "open", "trying")

Family = GaugeMetricFamily


class SharedState(Collector):
    """Reads all of it at most once in a while, however many ask."""

    def __init__(self) -> None:
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="shared-state")
        self._lock = threading.Lock()
        self._reading: Future[list[Family]] | None = None
        self._began_at = 0.0

    def describe(self) -> Iterable[Family]:
        """Return nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield the gauges; of those that cannot be read, that they cannot."""
        families = self._read()
        is_up = families is not None
        yield _gauge(
            "transcription_database_up",
            "Whether a dispatcher can read the database in time.",
            [((), is_up)],
        )
        yield from families or ()

    def _read(self) -> list[Family] | None:
        with self._lock:
            is_old = time.monotonic() - self._began_at > FRESH_SECONDS
            if self._reading is None or (is_old and self._reading.done()):
                self._began_at = time.monotonic()
                self._reading = self._reader.submit(read_families)
            reading = self._reading
        try:
            return reading.result(timeout=PATIENCE_SECONDS)
        except (TimeoutError, DatabaseError, InterfaceError):
            logger.warning("shared state cannot be read")
            return None


def read_families() -> list[Family]:
    """Read everything; raises what the database raises."""
    began, now = time.monotonic(), timezone.now()
    try:
        looked_at = regions.read_regions(permits=get_permit_reader())
        snapshot = read_capacity(now=now)
        families = [
            *_queue(now),
            *_limits(looked_at),
            *_regions(looked_at, now),
            *_in_hand(snapshot, looked_at),
            *_webhooks(now),
        ]
    finally:
        if not connection.in_atomic_block:
            connection.close()
    name = "transcription_shared_state_read_seconds"
    taken = time.monotonic() - began
    return [*families, _gauge(name, "How long reading these took.", [((), taken)])]


def _queue(now: datetime) -> Iterator[Family]:
    waiting = backlog.read_backlog()
    for name, told, value in (
        ("depth", "Jobs that could run now.", waiting.jobs),
        ("audio_seconds", "How much audio that is.", waiting.audio_seconds),
        (
            "oldest_seconds",
            "How long ago the oldest of them was submitted.",
            waiting.age(now=now).total_seconds(),
        ),
        (
            "later",
            "Jobs held, backing off or of a paused batch; 20000 at most.",
            waiting.later,
        ),
    ):
        yield _gauge(f"transcription_queue_{name}", told, [((), value)])


def _limits(looked_at: list[RegionStatistics]) -> Iterator[Family]:
    used, limits = [], []
    for each in looked_at:
        row, calls, streams = each.region, each.prerecorded, each.streams
        for kind, limit in (
            (PermitKind.PRERECORDED, row.max_concurrent),
            (MINUTE, row.max_per_minute),
            (PermitKind.STREAM, row.max_streams),
        ):
            limits.append(((row.name, kind), limit))
        if calls and streams:
            used += [
                ((row.name, PermitKind.PRERECORDED), calls.held),
                ((row.name, MINUTE), calls.in_minute),
                ((row.name, PermitKind.STREAM), streams.held),
            ]
    kinds = ["region", "kind"]
    yield _gauge("deepgram_permits_in_use", "Places taken, by limit.", used, kinds)
    yield _gauge("deepgram_permits_limit", "Places that there are.", limits, kinds)


def _regions(looked_at: list[RegionStatistics], now: datetime) -> Iterator[Family]:
    yield _gauge(
        "deepgram_breaker_state",
        "1 for the state that a region's circuit breaker is in.",
        (
            ((each.region.name, state), each.breaker == state)
            for each in looked_at
            for state in (BREAKER_STATES if each.breaker else ())
        ),
        ["region", "state"],
    )
    yield _gauge(
        "deepgram_cooldown_seconds",
        "For how long a region is left alone since it said 429.",
        (
            ((each.region.name,), each.prerecorded.cooldown_ms / 1000)
            for each in looked_at
            if each.prerecorded
        ),
        ["region"],
    )
    yield _gauge(
        "transcription_region_state",
        "1 for the word that says how a region is; an operator's will comes first.",
        (
            ((each.region.name, state), each.state(now=now) == state)
            for each in looked_at
            for state in regions.STATES
        ),
        ["region", "state"],
    )
    yield _gauge(
        "transcription_redis_up",
        "Whether the Redis that keeps a region's ledgers answers in time.",
        (((each.region.name,), each.prerecorded is not None) for each in looked_at),
        ["region"],
    )


def _in_hand(
    snapshot: CapacitySnapshot, looked_at: list[RegionStatistics]
) -> Iterator[Family]:
    yield _gauge(
        "transcription_jobs_in_hand",
        "Jobs that are claimed or run, by what they count against.",
        (
            (
                (each.region.name, kind),
                snapshot.count_in(each.region, live=kind == PermitKind.STREAM),
            )
            for each in looked_at
            for kind in PermitKind
        ),
        ["region", "kind"],
    )
    rows = [each.region for each in looked_at]
    queues = [queue_of(row.name) for row in rows if row.is_enabled]
    # Those that nobody takes from are told as such.
    figures = {queue: [0, 0, 0] for queue in (*queues, WEBHOOKS)}
    for worker in snapshot.workers:
        for queue in worker.queues:
            figure = figures.setdefault(queue, [0, 0, 0])
            for place, value in enumerate((1, worker.slots, worker.busy)):
                figure[place] += value
    for place, (name, told) in enumerate(
        (
            ("workers", "Worker processes seen lately, by queue."),
            ("worker_slots", "Jobs or deliveries that they can run at once."),
            ("worker_slots_busy", "Of those, how many run."),
        )
    ):
        yield _gauge(
            f"transcription_{name}",
            told,
            (((queue,), figure[place]) for queue, figure in figures.items()),
            ["queue"],
        )


def _webhooks(now: datetime) -> Iterator[Family]:
    due = deliveries.read_due(now=now)
    for name, told, value in (
        ("queue_depth", "Deliveries that are due; 20000 at most.", due.number),
        (
            "oldest_due_seconds",
            "How late the one that is due longest is.",
            due.late_by(now=now).total_seconds(),
        ),
        (
            "held",
            "Deliveries that wait at endpoints whose circuit is open; 20000 at most.",
            due.held,
        ),
        ("circuits_open", "Endpoints whose circuit is open.", due.circuits_open),
    ):
        yield _gauge(f"transcription_webhook_{name}", told, [((), value)])


def _gauge(
    name: str,
    told: str,
    values: Iterable[tuple[tuple[str, ...], Any]],
    labels: Iterable[str] = (),
) -> Family:
    family = GaugeMetricFamily(name, told, labels=list(labels))
    for label_values, value in values:
        family.add_metric([str(each) for each in label_values], float(value))
    return family
