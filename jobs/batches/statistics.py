"""Status, counters and estimates of a batch. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db.models import Q

from jobs.models import Batch, BatchState
from jobs.rest.serializers import CURRENCY
from jobs.state import FINAL

# If no job ended for this long, there is no estimate.
PACE_STALE = timedelta(minutes=5)


class BatchStatus(StrEnum):
    """The status of a batch in the API."""

    PREPARING = "preparing"
    PROCESSING = "processing"
    PAUSED = "paused"
    CANCELING = "canceling"
    COMPLETED = "completed"


class BatchOutcome(StrEnum):
    """How a batch ended; skipped items count as failures."""

    SUCCEEDED = "succeeded"
    PARTIALLY_SUCCEEDED = "partially_succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


def describe(batch: Batch) -> dict[str, Any]:
    """Return the batch as in events; JSON-ready except for its timestamps."""
    return {
        "id": str(batch.pk),
        "object": "batch",
        "status": get_status(batch),
        "outcome": get_outcome(batch),
        "counts": get_counts(batch),
        "percent": compute_percent(batch),
        "skipped": batch.skipped,
        "audio_seconds_done": round(batch.audio_seconds, 3),
        "cost_estimate": f"{batch.cost_estimate:.6f}",
        "currency": CURRENCY,
        "metadata": batch.metadata,
        "retry_of": str(batch.retry_of_id) if batch.retry_of_id else None,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        "finished_at": batch.finished_at,
    }


def get_status(batch: Batch) -> BatchStatus:
    """Return the status; ``completed`` once its last job has ended."""
    if batch.finished_at:
        return BatchStatus.COMPLETED
    if batch.cancel_requested_at:
        return BatchStatus.CANCELING
    if batch.state == BatchState.PREPARING:
        return BatchStatus.PREPARING
    return BatchStatus.PAUSED if batch.is_paused else BatchStatus.PROCESSING


def get_outcome(batch: Batch) -> BatchOutcome | None:
    """Return how the batch ended; None before."""
    if not batch.finished_at:
        return None
    if batch.completed == batch.total and not batch.skipped:
        return BatchOutcome.SUCCEEDED
    if batch.completed:
        return BatchOutcome.PARTIALLY_SUCCEEDED
    is_canceled = batch.canceled == batch.total
    return BatchOutcome.CANCELED if is_canceled else BatchOutcome.FAILED


def filter_status(status: BatchStatus) -> Q:
    """Return the condition of the batches for which ``get_status`` is this."""
    is_open = Q(finished_at=None)
    is_running = is_open & Q(cancel_requested_at=None)
    is_prepared = is_running & ~Q(state=BatchState.PREPARING)
    return {
        BatchStatus.COMPLETED: Q(finished_at__isnull=False),
        BatchStatus.CANCELING: is_open & Q(cancel_requested_at__isnull=False),
        BatchStatus.PREPARING: is_running & Q(state=BatchState.PREPARING),
        BatchStatus.PAUSED: is_prepared & Q(is_paused=True),
        BatchStatus.PROCESSING: is_prepared & Q(is_paused=False),
    }[status]


def compute_percent(batch: Batch) -> int:
    """Return the percentage of its jobs that have ended, rounded down."""
    return batch.done * 100 // batch.total


def audio_seconds_ahead(batch: Batch) -> float | None:
    """Estimate the remaining audio by the mean of completed jobs; None without any."""
    remaining = batch.total - batch.done
    if not remaining:
        return 0.0
    if not batch.completed:
        return None
    return round(batch.audio_seconds / batch.completed * remaining, 3)


def eta_seconds(batch: Batch, *, now: datetime) -> float | None:
    """Estimate the seconds until its last job ends, by the recent pace, or None."""
    is_moving = get_status(batch) in {BatchStatus.PROCESSING, BatchStatus.CANCELING}
    if not is_moving or not batch.pace_from or not batch.pace_at:
        return None
    done = batch.done - batch.pace_from_done
    if done <= 0 or now - batch.pace_at > PACE_STALE:
        return None
    elapsed = max(1.0, (now - batch.pace_from).total_seconds())
    return round((batch.total - batch.done) * elapsed / done, 1)


def get_counts(batch: Batch) -> dict[str, int]:
    """Return the number of its jobs: total, open, and by final status."""
    ended = {str(status): getattr(batch, status) for status in sorted(FINAL)}
    return {"total": batch.total, "open": batch.total - batch.done, **ended}
