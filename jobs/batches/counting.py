"""Count a batch's jobs as they end, and write its progress events.

The webhook fan-out calls this in the transaction that marks an event as fanned out, so
each is counted once. The UPDATE that counts the last job also finishes the batch.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db.models import Q, Sum

from jobs.batches import statistics as batch_statistics
from jobs.models import Attempt, Batch, Event
from jobs.state import FINAL

# Percentages of ended jobs that cause a ``batch.progress`` event.
MILESTONES = (25, 50, 75)
# Minimum distance of the two samples that measure the pace.
PACE_WINDOW = timedelta(minutes=1)

# One statement counts and finishes, so that two workers cannot both finish the batch.
_COUNT = """
UPDATE jobs_batch SET
  completed = completed + %(completed)s, failed = failed + %(failed)s,
  canceled = canceled + %(canceled)s, expired = expired + %(expired)s,
  audio_seconds = audio_seconds + %(audio_seconds)s,
  cost_estimate = cost_estimate + %(cost)s,
  pace_from = CASE WHEN pace_at IS NULL THEN %(now)s
    WHEN pace_at < %(minute_ago)s THEN pace_at ELSE pace_from END,
  pace_from_done = CASE
    WHEN pace_at IS NULL THEN completed + failed + canceled + expired + %(ended)s
    WHEN pace_at < %(minute_ago)s THEN pace_at_done ELSE pace_from_done END,
  pace_at = CASE WHEN pace_at IS NULL OR pace_at < %(minute_ago)s
    THEN %(now)s ELSE pace_at END,
  pace_at_done = CASE WHEN pace_at IS NULL OR pace_at < %(minute_ago)s
    THEN completed + failed + canceled + expired + %(ended)s ELSE pace_at_done END,
  finished_at = CASE
    WHEN completed + failed + canceled + expired + %(ended)s = total THEN %(now)s END
WHERE id = %(batch)s RETURNING *
"""


def count_ended(events: Iterable[Event], *, now: datetime) -> None:
    """Count the ended jobs of these events; write the batches' progress events.

    Call it in the transaction that marks the events as fanned out.
    """
    ended: dict[UUID, Counter[str]] = defaultdict(Counter)
    jobs: list[UUID] = []
    for event in events:
        status = event.type.removeprefix("job.")
        if event.job and event.job.batch_id and status in FINAL:
            ended[event.job.batch_id][status] += 1
            jobs.append(event.job.pk)
    sums = _sum_calls(jobs) if jobs else {}
    # In a fixed order, to avoid deadlocks between dispatchers.
    for batch_id in sorted(ended):
        counts = {str(status): ended[batch_id][status] for status in FINAL}
        audio_seconds, cost = sums.get(batch_id, (0, 0))
        values = {
            **counts,
            "ended": ended[batch_id].total(),
            "audio_seconds": audio_seconds or 0,
            "cost": cost or 0,
            "batch": batch_id,
            "now": now,
            "minute_ago": now - PACE_WINDOW,
        }
        for batch in Batch.objects.raw(_COUNT, values):
            _write_due_event(batch, at=now)


def _sum_calls(jobs: Collection[UUID]) -> dict[UUID, tuple[float, Decimal]]:
    """Return the transcribed audio seconds and the cost of all calls, by batch."""
    ok = Q(outcome=Attempt.Outcome.OK)
    calls = Attempt.objects.filter(job__in=jobs).values("job__batch_id")
    sums = calls.annotate(
        audio=Sum("audio_seconds", filter=ok), cost=Sum("cost_estimate")
    )
    return {each["job__batch_id"]: (each["audio"], each["cost"]) for each in sums}


def _write_due_event(batch: Batch, *, at: datetime) -> None:
    """Write ``batch.completed`` or ``batch.progress`` if the counters require it."""
    reached = max(
        (each for each in MILESTONES if batch.done * 100 >= each * batch.total),
        default=0,
    )
    if batch.finished_at:
        event_type = "batch.completed"
    elif reached > batch.told_percent:
        event_type = "batch.progress"
        Batch.objects.filter(pk=batch.pk).update(told_percent=reached)
        batch.told_percent = reached
    else:
        return
    Event.objects.create(
        tenant_id=batch.tenant_id,
        batch=batch,
        type=event_type,
        data=batch_statistics.describe(batch),
        created_at=at,
    )
