"""A Celery bootstep that marks the progress of the consumer's event loop.

Loaded by the Celery app before any model.
"""

from typing import Any

from celery import bootsteps

from workers.liveness.liveness_writer import get_liveness_writer

LOOP_SECONDS = 2.0


class ConsumerCheck(bootsteps.StartStopStep):
    """Marks progress every LOOP_SECONDS; registered again after a reconnection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def register_with_event_loop(self, _consumer: Any, hub: Any) -> None:
        """Schedule the mark; called by Celery before the loop starts."""
        hub.call_repeatedly(LOOP_SECONDS, get_liveness_writer().mark, "consumer")
