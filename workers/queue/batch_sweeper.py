"""The dispatcher's second thread: applies batch actions in slices.

Separate from the tick, so that a batch of 100,000 rows does not delay claims.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from jobs.batches import sweeper
from workers.liveness.liveness_writer import get_liveness_writer

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
# The pause between two slices leaves the database to other queries.
PAUSE_SECONDS = 0.02


@contextmanager
def run_in_thread(stop: threading.Event) -> Iterator[None]:
    """Run the sweeper in a thread during the block; sets ``stop`` at its end."""
    thread = threading.Thread(target=run, kwargs={"stop": stop}, name="batches")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run(*, stop: threading.Event) -> None:
    """Sweep until ``stop`` is set; database errors are logged and retried."""
    try:
        while not stop.is_set():
            get_liveness_writer().mark("batches")
            stop.wait(PAUSE_SECONDS if _sweep(stop) else IDLE_SECONDS)
    finally:
        connection.close()


def _sweep(stop: threading.Event) -> int:
    try:
        return sweeper.sweep_batches(now=timezone.now(), until=stop.is_set)
    except (DatabaseError, InterfaceError):
        logger.warning("database unavailable, batch sweep skipped", exc_info=True)
        connection.close()
        return 0
