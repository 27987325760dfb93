"""What the workers' side of this process did, counted for Prometheus.

As in ``jobs.telemetry.metrics``; what the live door counts is in ``workers.api.live.counters``.
"""

from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS = Gauge(
    "deepgram_active_connections",
    "Calls and streams that this process has open to the upstream.",
    ["region", "kind"],
)
TICK = Histogram(
    "transcription_tick_seconds",
    "A round of the dispatcher: take back, claim, fan out, send.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
CLAIMED = Counter("transcription_jobs_claimed_total", "Jobs given to a worker to run.")
WEBHOOK_ATTEMPTS = Counter(
    "transcription_webhook_attempts_total",
    "Requests to customers' receivers: what came of the delivery, and the answer.",
    ["outcome", "answer"],
)
WEBHOOK_SECONDS = Histogram(
    "transcription_webhook_seconds",
    "How long a receiver took to answer.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
WEBHOOK_DELAY = Histogram(
    "transcription_webhook_delay_seconds",
    "From a delivery's event to the answer that ended it well.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3600, 21600, 86400),
)


def count_webhook(*, outcome: str, status_code: int | None, seconds: float) -> None:
    """Count a request to a receiver; without a status there was no answer."""
    answer = f"{status_code // 100}xx" if status_code else "none"
    WEBHOOK_ATTEMPTS.labels(outcome, answer).inc()
    WEBHOOK_SECONDS.observe(seconds)


def count_delivered(*, created_at: datetime, now: datetime) -> None:
    """Count a delivery that arrived."""
    WEBHOOK_DELAY.observe((now - created_at).total_seconds())
