"""Celery beat's scheduler with a liveness mark per tick."""

from typing import Any

from celery import signals
from celery.beat import PersistentScheduler

from workers.liveness import process_rows
from workers.liveness.liveness_writer import get_liveness_writer

# Several entries may be due while an unresponsive broker delays each.
LIMIT_SECONDS = 180.0


class Scheduler(PersistentScheduler):
    """Celery beat's scheduler; it updates the liveness file at each tick."""

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        """Publish due tasks; return the seconds to sleep."""
        pause = super().tick(*args, **kwargs)
        get_liveness_writer().mark("schedule")
        process_rows.announce("beat")
        return pause


@signals.beat_init.connect
def begin(**_kwargs: Any) -> None:
    """Start writing the liveness file of beat."""
    get_liveness_writer().begin("beat", parts={"schedule": LIMIT_SECONDS})
