"""What can be said of a batch: what it does, its counters, how long it will take."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from jobs.models import Batch, BatchState
from jobs.state import FINAL

# Without a job ending for so long there is no pace that one could count on.
PACE_STALE = timedelta(minutes=5)


class BatchStatus(StrEnum):
    """What customers are told a batch does."""

    PREPARING = "preparing"
    PROCESSING = "processing"
    PAUSED = "paused"
    CANCELING = "canceling"
    COMPLETED = "completed"


def describe(batch: Batch) -> dict[str, Any]:
    """Return the batch as customers are told of it, JSON-ready but for its times."""
    return {
        "id": str(batch.pk),
        "object": "batch",
        "status": status_of(batch),
        "counts": counts_of(batch),
        "percent": percent_of(batch),
        "skipped": batch.skipped,
        "audio_seconds_done": round(batch.audio_seconds, 3),
        "cost_estimate": f"{batch.cost_estimate:.6f}",
        "metadata": batch.metadata,
        "retry_of": str(batch.retry_of_id) if batch.retry_of_id else None,
        "created_at": batch.created_at,
        "expires_at": batch.expires_at,
        "finished_at": batch.finished_at,
    }


def status_of(batch: Batch) -> BatchStatus:
    """Return what it does, or ``completed`` once its last job has ended."""
    if batch.finished_at:
        return BatchStatus.COMPLETED
    if batch.cancel_requested_at:
        return BatchStatus.CANCELING
    if batch.state == BatchState.PREPARING:
        return BatchStatus.PREPARING
    return BatchStatus.PAUSED if batch.is_paused else BatchStatus.PROCESSING


def percent_of(batch: Batch) -> int:
    """Return how many in a hundred of its jobs have ended."""
    return batch.done * 100 // batch.total


def audio_seconds_ahead(batch: Batch) -> float | None:
    """Return how much audio is left, by the length of what is done; None at first."""
    left = batch.total - batch.done
    if not left:
        return 0.0
    if not batch.completed:
        return None
    return round(batch.audio_seconds / batch.completed * left, 3)


def eta_seconds(batch: Batch, *, now: datetime) -> float | None:
    """Return when its last job ends, at the pace of late; None where there is none."""
    is_moving = status_of(batch) in {BatchStatus.PROCESSING, BatchStatus.CANCELING}
    if not is_moving or not batch.pace_from or not batch.pace_at:
        return None
    done = batch.done - batch.pace_from_done
    if done <= 0 or now - batch.pace_at > PACE_STALE:
        return None
    took = max(1.0, (now - batch.pace_from).total_seconds())
    return round((batch.total - batch.done) * took / done, 1)


def counts_of(batch: Batch) -> dict[str, int]:
    """Return how many jobs it has and how they ended so far."""
    ended = {str(status): getattr(batch, status) for status in sorted(FINAL)}
    return {"total": batch.total, "open": batch.total - batch.done, **ended}
