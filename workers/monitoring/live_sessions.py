"""Exports the counters of ``workers.api.live.counters`` to Prometheus."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from workers.api.live.counters import COUNTERS, LATENCY_BUCKETS


class LiveSessionCollector(Collector):
    """Reads the live session counters of this process on each scrape."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are unique."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the current counters."""
        yield GaugeMetricFamily(
            "transcription_live_sessions", "Open sessions.", COUNTERS.sessions
        )
        for name, help_text, value in (
            ("sessions_opened", "Accepted sessions.", COUNTERS.opened),
            ("sessions_refused", "Rejected handshakes.", COUNTERS.refused),
            (
                "reconnects",
                "Reconnects to the upstream after a disconnect.",
                COUNTERS.reconnects,
            ),
            (
                "lost_audio_seconds",
                "Audio dropped because the upstream was away longer than the buffer.",
                COUNTERS.lost_audio_seconds,
            ),
        ):
            yield CounterMetricFamily(f"transcription_live_{name}", help_text, value)
        bounds = [*map(floatToGoString, LATENCY_BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "transcription_live_added_latency_seconds",
            "Time from receiving an upstream message to sending it.",
            buckets=list(zip(bounds, accumulate(COUNTERS.added_latency), strict=True)),
            sum_value=COUNTERS.added_latency_seconds,
        )
