"""Celery's consumer marks that its loop turns; loaded by the app before any model."""

from typing import Any

from celery import bootsteps

from workers.liveness.liveness_writer import get_liveness_writer

LOOP_SECONDS = 2.0


class ConsumerCheck(bootsteps.StartStopStep):
    """Has the consumer's loop mark that it turns; anew after each reconnection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def register_with_event_loop(self, _consumer: Any, hub: Any) -> None:
        """Celery calls this when the loop is about to begin."""
        hub.call_repeatedly(LOOP_SECONDS, get_liveness_writer().mark, "consumer")
