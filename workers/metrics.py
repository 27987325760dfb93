"""Prometheus metrics of workers; live sessions have ``api.live.counters``."""

from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from transcripts.outcomes import result_storage

CONNECTIONS = Gauge(
    "deepgram_active_connections",
    "Open calls and streams of this process to Deepgram.",
    ["region", "kind"],
)
TICK = Histogram(
    "transcription_tick_seconds",
    "Duration of a dispatcher tick: expire leases, claim, fan out, send.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
STORAGE = Gauge(
    "transcription_storage_up", "Whether this process could store results lately."
)
STORAGE.set_function(result_storage.is_available)
CLAIMED = Counter("transcription_jobs_claimed_total", "Jobs claimed for a worker.")
WEBHOOK_ATTEMPTS = Counter(
    "transcription_webhook_attempts_total",
    "Webhook requests by outcome of the delivery and status class of the response.",
    ["outcome", "answer"],
)
WEBHOOK_SECONDS = Histogram(
    "transcription_webhook_seconds",
    "Response time of webhook receivers.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
WEBHOOK_DELAY = Histogram(
    "transcription_webhook_delay_seconds",
    "Time from an event to its successful delivery.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3600, 21600, 86400),
)


def count_webhook(*, outcome: str, status_code: int | None, seconds: float) -> None:
    """Count a webhook request; ``status_code`` is None without a response."""
    answer = f"{status_code // 100}xx" if status_code else "none"
    WEBHOOK_ATTEMPTS.labels(outcome, answer).inc()
    WEBHOOK_SECONDS.observe(seconds)


def count_delivered(*, created_at: datetime, now: datetime) -> None:
    """Record the delay of a successful delivery."""
    WEBHOOK_DELAY.observe((now - created_at).total_seconds())
