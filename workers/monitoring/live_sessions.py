"""What the live door counts (``workers.api.live.counters``), as Prometheus reads it."""

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
    """The live sessions of this process, whose door costs nothing for being watched."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are ours alone."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what is counted now."""
        yield GaugeMetricFamily(
            "transcription_live_sessions", "Sessions open now.", COUNTERS.sessions
        )
        for name, told, value in (
            ("sessions_opened", "Sessions that were let in.", COUNTERS.opened),
            ("sessions_refused", "Handshakes that were refused.", COUNTERS.refused),
            (
                "reconnects",
                "Times that the upstream broke off and was there again.",
                COUNTERS.reconnects,
            ),
            (
                "lost_audio_seconds",
                "Audio given up, as the upstream was away for longer than is kept.",
                COUNTERS.lost_audio_seconds,
            ),
        ):
            yield CounterMetricFamily(f"transcription_live_{name}", told, value)
        bounds = [*map(floatToGoString, LATENCY_BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "transcription_live_added_latency_seconds",
            "How long a message of the upstream stayed here.",
            buckets=list(zip(bounds, accumulate(COUNTERS.added_latency), strict=True)),
            sum_value=COUNTERS.added_latency_seconds,
        )
