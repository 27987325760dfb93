"""What somebody may want of a batch: pause, resume, cancel, another priority, again.

Each writes the wish into the batch's row and returns; ``jobs.batches.sweeper`` does it.
"""

from datetime import datetime
from typing import Any

from django.db import transaction

from jobs.accounts import audit
from jobs.batches import statistics as batch_statistics
from jobs.errors import Conflict, InvalidRequest
from jobs.models import Batch, BatchState


def pause(*, batch: Batch, actor: str, now: datetime) -> Batch:
    """Start no more of its jobs; what runs ends. Twice is harmless.

    Raises Conflict for a batch that has ended, is being canceled, or is not open yet.
    """
    return _wish(batch, "batch.paused", actor=actor, now=now, is_paused=True)


def resume(*, batch: Batch, actor: str, now: datetime) -> Batch:
    """Let its jobs run again. Raises Conflict as ``pause`` does."""
    return _wish(batch, "batch.resumed", actor=actor, now=now, is_paused=False)


def reprioritize(*, batch: Batch, priority: int, actor: str, now: datetime) -> Batch:
    """Give all its waiting jobs this priority; what runs has had its turn.

    Raises Conflict as ``pause`` does, InvalidRequest for one its tenant may not use.
    """
    if priority < batch.tenant.highest_priority:
        message = "This priority is higher than your account may use."
        raise InvalidRequest(message, code="priority_not_allowed", pointer="/priority")
    return _wish(
        batch, "batch.reprioritized", actor=actor, now=now, wanted_priority=priority
    )


def cancel(*, batch: Batch, actor: str, now: datetime) -> Batch:
    """Cancel what has not ended, running calls too; one that is preparing is dropped.

    Twice is harmless. Raises Conflict for a batch that had ended before.
    """
    with transaction.atomic():
        dropped = Batch.objects.filter(pk=batch.pk, state=BatchState.PREPARING).update(
            state=BatchState.DROPPED, cancel_requested_at=now, work_at=now
        )
        if not dropped:
            current = Batch.objects.get(pk=batch.pk)
            if current.cancel_requested_at:
                return current
            return _wish(
                batch, "batch.canceled", actor=actor, now=now, cancel_requested_at=now
            )
        _record(batch, "batch.canceled", actor=actor, now=now)
    return Batch.objects.get(pk=batch.pk)


def _wish(batch: Batch, kind: str, *, actor: str, now: datetime, **wish: Any) -> Batch:
    with transaction.atomic():
        current = Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)
        check_can_be_steered(current)
        if all(getattr(current, name) == value for name, value in wish.items()):
            return current
        # From the first job on, whatever was under way.
        work = {"work_at": now, "work_after": None, "work_again": True}
        Batch.objects.filter(pk=batch.pk).update(**wish, **work)
        wanted = wish.get("wanted_priority")
        data = {} if wanted is None else {"priority": wanted}
        _record(current, kind, actor=actor, now=now, **data)
    return Batch.objects.get(pk=batch.pk)


def check_can_be_steered(batch: Batch) -> None:
    """Raise Conflict unless its jobs are there, wanted, and not all done."""
    if batch.state != BatchState.OPEN or batch.finished_at or batch.cancel_requested_at:
        message = f"The batch is {batch_statistics.status_of(batch)}."
        raise Conflict(message, code="batch_state_conflict")


def _record(batch: Batch, kind: str, *, actor: str, now: datetime, **data: Any) -> None:
    audit.record(
        type=kind,
        actor=actor,
        at=now,
        tenant=batch.tenant,
        batch_id=str(batch.pk),
        **data,
    )
