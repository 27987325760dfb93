"""Prometheus counters of the jobs and calls that this process changed.

Counted after the commit, so that the sum over all processes is correct. Shared state
(the queue, the permits in use) is in ``workers.monitoring``. Labels have few values: no
tenants, no ids.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.conf import settings
from prometheus_client import Counter, Histogram, disable_created_metrics

from jobs.models import Attempt, Job, Mode
from jobs.state import JobStatus

# The ``_created`` series double the output, and Prometheus does not need them.
disable_created_metrics()  # type: ignore[no-untyped-call]

OTHER, NONE = "other", "none"
_STATUSES = {status.value for status in HTTPStatus}

# The first two names, labels and buckets are from Deepgram's reference architecture.
REQUESTS = Counter(
    "transcription_requests_total",
    "Jobs that ended, in every mode.",
    ["status", "model", "region"],
)
LATENCY = Histogram(
    "transcription_latency_seconds",
    "Duration of a successful prerecorded call, until its result is committed.",
    ["model"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 120),
)
TURNAROUND = Histogram(
    "transcription_turnaround_seconds",
    "Time from the submit of a completed job to its end.",
    ["mode"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400),
)
SUBMITTED = Counter(
    "transcription_jobs_submitted_total", "Jobs that were accepted.", ["mode"]
)
CALLS = Counter(
    "deepgram_calls_total",
    "Calls that ended, by HTTP status (101 for a stream, none without a response).",
    ["region", "kind", "outcome", "code"],
)
AUDIO = Counter(
    "transcription_audio_seconds_total",
    "Audio that Deepgram transcribed.",
    ["model", "region"],
)
COST = Counter(
    "transcription_cost_dollars_total",
    "Estimated cost of that audio by the price list.",
    ["model", "region"],
)
LOST = Counter(
    "transcription_leases_lost_total", "Claims whose worker stopped renewing the lease."
)


def count_ended(jobs: Iterable[Job]) -> None:
    """Count jobs that ended."""
    for job in jobs:
        model = name_model(job.options.get("model"))
        REQUESTS.labels(job.status, model, job.region_id or NONE).inc()
        if job.status == JobStatus.COMPLETED and job.finished_at:
            elapsed = job.finished_at - job.created_at
            TURNAROUND.labels(job.mode).observe(elapsed.total_seconds())


def count_call(
    attempt: Attempt,
    *,
    outcome: str,
    status_code: int | None,
    audio_seconds: float,
    cost: Decimal,
    now: datetime,
) -> None:
    """Count a call that ended, with its audio and cost."""
    is_live = attempt.job.mode == Mode.LIVE
    model, region = name_model(attempt.model), attempt.region_id
    status = _name_status(status_code)
    kind = "stream" if is_live else "prerecorded"
    # Export the series from the first call on, so that the first 429 is an increase.
    CALLS.labels(region, kind, Attempt.Outcome.ERROR, "429")
    CALLS.labels(region, kind, outcome, status).inc()
    AUDIO.labels(model, region).inc(audio_seconds)
    COST.labels(model, region).inc(float(cost))
    if outcome == Attempt.Outcome.OK and not is_live:
        LATENCY.labels(model).observe((now - attempt.started_at).total_seconds())


def _name_status(status: int | None) -> str:
    if status is None:
        return NONE
    return str(status) if status in _STATUSES else OTHER


@lru_cache(maxsize=256)
def name_model(model: Any) -> str:
    """Return the price list's entry for a model, or "other".

    Bounds the values of the label: customers may send any model name.
    """
    known = {*settings.PRICES_PER_MINUTE, *settings.LIVE_PRICES_PER_MINUTE}
    names = [name for name in known if str(model).startswith(name)]
    return max(names, key=len, default=OTHER)
