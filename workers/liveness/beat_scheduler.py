"""Celery's beat with a pulse: each look at the schedule marks it."""

from typing import Any

from celery import signals
from celery.beat import PersistentScheduler

from workers.liveness import process_rows
from workers.liveness.liveness_writer import get_liveness_writer

# Several entries may be due while a broker that does not answer holds each up.
LIMIT_SECONDS = 180.0


class Scheduler(PersistentScheduler):
    """Celery's own."""

    def tick(self, *args: Any, **named: Any) -> Any:
        """Send what is due; return how long to sleep."""
        pause = super().tick(*args, **named)
        get_liveness_writer().mark("schedule")
        process_rows.announce("beat")
        return pause


@signals.beat_init.connect
def begin(**_kwargs: Any) -> None:
    """Have beat show its pulse."""
    get_liveness_writer().begin("beat", parts={"schedule": LIMIT_SECONDS})
