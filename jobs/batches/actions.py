"""Actions on a batch: pause, resume, reprioritize, cancel.

Each saves the desired state in the batch's row; ``jobs.batches.sweeper`` applies it.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from jobs.accounts import audit
from jobs.batches import statistics as batch_statistics
from jobs.errors import Conflict, InvalidRequest
from jobs.models import Batch, BatchState


def pause(*, batch: Batch, actor: str, now: datetime) -> Batch:
    """Start no more of its jobs; running ones end. Idempotent.

    Raises Conflict for a batch that has ended, is being canceled, or is preparing.
    """
    return _request_change(batch, "batch.paused", actor=actor, now=now, is_paused=True)


def resume(*, batch: Batch, actor: str, now: datetime) -> Batch:
    """Let its jobs run again. Raises Conflict as ``pause`` does."""
    return _request_change(
        batch, "batch.resumed", actor=actor, now=now, is_paused=False
    )


def reprioritize(*, batch: Batch, priority: int, actor: str, now: datetime) -> Batch:
    """Set the priority of all its queued jobs.

    Raises Conflict as ``pause`` does, InvalidRequest if its tenant may not use it.
    """
    if priority < batch.tenant.highest_priority:
        message = "This priority exceeds your account's highest priority."
        raise InvalidRequest(message, code="priority_not_allowed", pointer="/priority")
    return _request_change(
        batch, "batch.reprioritized", actor=actor, now=now, wanted_priority=priority
    )


def cancel(*, batch: Batch, actor: str, now: datetime) -> Batch:
    """Cancel all jobs that have not ended, including running ones. Idempotent.

    A batch that is preparing is dropped. Raises Conflict if the batch has ended.
    """
    with transaction.atomic():
        dropped = Batch.objects.filter(pk=batch.pk, state=BatchState.PREPARING).update(
            state=BatchState.DROPPED, cancel_requested_at=now, work_at=now
        )
        if not dropped:
            current = Batch.objects.get(pk=batch.pk)
            if current.cancel_requested_at:
                return current
            return _request_change(
                batch, "batch.canceled", actor=actor, now=now, cancel_requested_at=now
            )
        _record(batch, "batch.canceled", actor=actor, now=now)
    return Batch.objects.get(pk=batch.pk)


def _request_change(
    batch: Batch, event_type: str, *, actor: str, now: datetime, **changes: Any
) -> Batch:
    with transaction.atomic():
        current = Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)
        check_can_change(current)
        if all(getattr(current, name) == value for name, value in changes.items()):
            return current
        # Restart at the first job, even during a pass.
        work = {"work_at": now, "work_after": None, "work_again": True}
        Batch.objects.filter(pk=batch.pk).update(**changes, **work)
        priority = changes.get("wanted_priority")
        data = {} if priority is None else {"priority": priority}
        _record(current, event_type, actor=actor, now=now, **data)
    return Batch.objects.get(pk=batch.pk)


def check_can_change(batch: Batch) -> None:
    """Raise Conflict if the batch is not open, has ended or is being canceled."""
    if batch.state != BatchState.OPEN or batch.finished_at or batch.cancel_requested_at:
        message = f"The batch is {batch_statistics.get_status(batch)}."
        raise Conflict(message, code="batch_state_conflict")


def _record(
    batch: Batch, event_type: str, *, actor: str, now: datetime, **data: Any
) -> None:
    audit.record(
        type=event_type,
        actor=actor,
        at=now,
        tenant=batch.tenant,
        batch_id=str(batch.pk),
        **data,
    )
