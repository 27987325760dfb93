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

# One statement counts and finishes, so that two workers cannot both finish a batch.
_COUNT = """
UPDATE jobs_batch AS batch SET
  completed = batch.completed + ended.completed, failed = batch.failed + ended.failed,
  canceled = batch.canceled + ended.canceled, expired = batch.expired + ended.expired,
  audio_seconds = batch.audio_seconds + ended.audio_seconds,
  cost_estimate = batch.cost_estimate + ended.cost,
  pace_from = CASE WHEN pace_at IS NULL THEN %(now)s
    WHEN pace_at < %(minute_ago)s THEN pace_at ELSE pace_from END,
  pace_from_done = CASE
    WHEN pace_at IS NULL THEN {done}
    WHEN pace_at < %(minute_ago)s THEN pace_at_done ELSE pace_from_done END,
  pace_at = CASE WHEN pace_at IS NULL OR pace_at < %(minute_ago)s
    THEN %(now)s ELSE pace_at END,
  pace_at_done = CASE WHEN pace_at IS NULL OR pace_at < %(minute_ago)s
    THEN {done} ELSE pace_at_done END,
  finished_at = CASE WHEN {done} = total THEN %(now)s END
FROM unnest(%(id)s::uuid[], %(completed)s::int[], %(failed)s::int[],
            %(canceled)s::int[], %(expired)s::int[],
            %(audio_seconds)s::float[], %(cost)s::numeric[])
  AS ended (id, completed, failed, canceled, expired, audio_seconds, cost)
WHERE batch.id = ended.id RETURNING batch.*
""".format(
    done=" + ".join(f"batch.{status} + ended.{status}" for status in sorted(FINAL))
)


def count_ended(events: Iterable[Event], *, now: datetime) -> None:
    """Count the ended jobs of these events; write the batches' progress events.

    Call it in the transaction that marks the events as fanned out. The number of
    statements does not grow with the number of batches, except for progress events.
    """
    ended: dict[UUID, Counter[str]] = defaultdict(Counter)
    jobs: list[UUID] = []
    for event in events:
        status = event.type.removeprefix("job.")
        if event.job and event.job.batch_id and status in FINAL:
            ended[event.job.batch_id][status] += 1
            jobs.append(event.job.pk)
    if not jobs:
        return
    if len(ended) > 1:  # in a fixed order, to avoid deadlocks between dispatchers
        batches = Batch.objects.select_for_update(no_key=True).filter(pk__in=ended)
        list(batches.order_by("pk").values_list("pk"))
    sums = _sum_calls(jobs)
    values = {
        "id": list(ended),
        **{str(status): [each[status] for each in ended.values()] for status in FINAL},
        "audio_seconds": [sums[pk][0] for pk in ended],
        "cost": [sums[pk][1] for pk in ended],
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
    found: dict[UUID, tuple[float, Decimal]] = defaultdict(lambda: (0.0, Decimal()))
    for each in sums:
        found[each["job__batch_id"]] = (each["audio"] or 0.0, each["cost"] or Decimal())
    return found


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
