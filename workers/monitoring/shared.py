"""Exports shared state to Prometheus: queue, permits, regions, workers.

Read on a scrape, at most every few seconds and in a separate thread, so that a hanging
database does not block the response. All dispatchers export the same values: aggregate
with max, not sum.
"""

import logging
import math
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from django.db import DatabaseError, InterfaceError, connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from jobs.scheduling.capacity import CapacitySnapshot, queue_of, read_capacity
from jobs.scheduling.claims import PermitKind
from workers.monitoring import backlog, deliveries, regions, stores
from workers.monitoring.components import MAX_SILENCE, read_beacons
from workers.monitoring.regions import RegionStatistics
from workers.ratelimit.permits import get_permit_reader
from workers.webhooks.delivery.dispatch import QUEUE as WEBHOOKS

logger = logging.getLogger(__name__)

CACHE_SECONDS = 2.0
# Less than Prometheus' scrape timeout of 10 s, after which it marks the target down.
READ_TIMEOUT_SECONDS = 3.0
MINUTE = "minute"
BREAKER_STATES = ("closed", "open", "trying")

Family = GaugeMetricFamily
_GAUGES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


class SharedState(Collector):
    """Reads the shared state, at most once per ``CACHE_SECONDS``."""

    def __init__(self) -> None:
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="shared-state")
        self._lock = threading.Lock()
        self._reading: Future[tuple[bool, list[Family]]] | None = None
        self._started_at = 0.0

    def describe(self) -> Iterable[Family]:
        """Return nothing, so that registration does not read the database."""
        return []

    def collect(self) -> Iterator[Family]:
        """Yield the gauges; if reading fails, only ``transcription_database_up`` 0."""
        is_writable, families = self._read()
        yield _gauge("transcription_database_up", is_writable)
        yield from families

    def _read(self) -> tuple[bool, list[Family]]:
        with self._lock:
            is_expired = time.monotonic() - self._started_at > CACHE_SECONDS
            if self._reading is None or (is_expired and self._reading.done()):
                self._started_at = time.monotonic()
                self._reading = self._reader.submit(_read_state)
            reading = self._reading
        try:
            return reading.result(timeout=READ_TIMEOUT_SECONDS)
        except (TimeoutError, DatabaseError, InterfaceError):
            logger.warning("shared state cannot be read")
            return False, []


def _read_state() -> tuple[bool, list[Family]]:
    """Return whether the database is writable, and if so the gauges.

    A read-only one contains old heartbeats, whoever is alive.
    """
    try:
        is_writable = stores.is_database_writable()
        return is_writable, read_families() if is_writable else []
    finally:
        if not connection.in_atomic_block:
            connection.close()


def read_families() -> list[Family]:
    """Read all gauges; raises DatabaseError."""
    started_at, now = time.monotonic(), stores.read_clock()
    region_statistics = regions.read_regions(permits=get_permit_reader())
    snapshot = read_capacity(now=now)
    families = [
        *_queue(now),
        *_limits(region_statistics),
        *_regions(region_statistics, now),
        *_capacity(snapshot, region_statistics),
        *_webhooks(now),
        _heartbeats(now),
    ]
    seconds = time.monotonic() - started_at
    return [*families, _gauge("transcription_shared_state_read_seconds", seconds)]


def _queue(now: datetime) -> Iterator[Family]:
    waiting = backlog.read_backlog()
    age = waiting.age(now=now).total_seconds()
    yield _gauge("transcription_queue_depth", waiting.jobs)
    yield _gauge("transcription_queue_audio_seconds", waiting.audio_seconds)
    yield _gauge("transcription_queue_oldest_seconds", age)
    yield _gauge("transcription_queue_later", waiting.later)
    yield _gauge("transcription_queue_closed", waiting.closed)


def _limits(region_statistics: list[RegionStatistics]) -> Iterator[Family]:
    used, limits = [], []
    for item in region_statistics:
        row, calls, streams = item.region, item.prerecorded, item.streams
        for kind, limit in (
            (PermitKind.PRERECORDED, row.max_concurrent),
            (MINUTE, row.max_per_minute if row.has_rate_limit else None),
            (PermitKind.STREAM, row.max_streams),
        ):
            if limit is not None:
                limits.append(((row.name, kind), limit))
        if calls and streams:
            used += [
                ((row.name, PermitKind.PRERECORDED), calls.held),
                ((row.name, MINUTE), calls.in_minute),
                ((row.name, PermitKind.STREAM), streams.held),
            ]
    yield _gauges("deepgram_permits_in_use", used)
    yield _gauges("deepgram_permits_limit", limits)


def _regions(
    region_statistics: list[RegionStatistics], now: datetime
) -> Iterator[Family]:
    yield _gauges(
        "deepgram_breaker_state",
        (
            ((item.region.name, state), item.breaker == state)
            for item in region_statistics
            for state in (BREAKER_STATES if item.breaker else ())
        ),
    )
    yield _gauges(
        "deepgram_cooldown_seconds",
        (
            ((item.region.name,), item.prerecorded.cooldown_ms / 1000)
            for item in region_statistics
            if item.prerecorded
        ),
    )
    yield _gauges(
        "transcription_region_state",
        (
            ((item.region.name, state), item.state(now=now) == state)
            for item in region_statistics
            for state in regions.STATES
        ),
    )
    yield _gauges(
        "transcription_redis_up",
        (
            ((item.region.name,), item.prerecorded is not None)
            for item in region_statistics
        ),
    )
    yield _gauges(
        "transcription_redis_writable",
        (((item.region.name,), item.is_writable) for item in region_statistics),
    )


def _capacity(
    snapshot: CapacitySnapshot, region_statistics: list[RegionStatistics]
) -> Iterator[Family]:
    yield _gauges(
        "transcription_jobs_in_hand",
        (
            (
                (item.region.name, kind),
                snapshot.count_in(item.region, live=kind == PermitKind.STREAM),
            )
            for item in region_statistics
            for kind in PermitKind
        ),
    )
    rows = [item.region for item in region_statistics]
    # A region drained on purpose needs no workers.
    open_rows = [row for row in rows if row.is_enabled and not row.is_drained]
    queues = [queue_of(row.name) for row in open_rows]
    # Queues without workers have zeros.
    totals = {queue: [0, 0, 0] for queue in (*queues, WEBHOOKS)}
    for worker in snapshot.workers:
        for queue in worker.queues:
            total = totals.setdefault(queue, [0, 0, 0])
            for place, value in enumerate((1, worker.slots, worker.busy)):
                total[place] += value
    for place, name in enumerate(("workers", "worker_slots", "worker_slots_busy")):
        yield _gauges(
            f"transcription_{name}",
            (((queue,), total[place]) for queue, total in totals.items()),
        )


def _webhooks(now: datetime) -> Iterator[Family]:
    due = deliveries.read_due(now=now)
    delay = due.late_by(now=now).total_seconds()
    yield _gauge("transcription_webhook_queue_depth", due.number)
    yield _gauge("transcription_webhook_oldest_due_seconds", delay)
    yield _gauge("transcription_webhook_held", due.held)
    yield _gauge("transcription_webhook_circuits_open", due.circuits_open)


def _heartbeats(now: datetime) -> Family:
    """Return the age of each role's last heartbeat; infinite without one."""
    seen = read_beacons()
    return _gauges(
        "transcription_heartbeat_age_seconds",
        (
            ((role,), (now - seen[role]).total_seconds() if role in seen else math.inf)
            for role in MAX_SILENCE
        ),
    )


def _gauge(name: str, value: float) -> Family:
    return _gauges(name, [((), value)])


def _gauges(name: str, values: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    """Return a gauge of ``shared.toml`` with values by its labels."""
    table = _GAUGES[name]
    help_text = table["help"].format(
        max_jobs=backlog.MAX_COUNTED, max_deliveries=deliveries.MAX_COUNTED
    )
    family = GaugeMetricFamily(name, help_text, labels=table.get("labels", []))
    for label_values, value in values:
        family.add_metric([str(label) for label in label_values], float(value))
    return family
