"""The dispatcher's second thread: what is wanted of whole batches, slice by slice.

Beside the tick and not in it, so that a hundred thousand rows hold up no claim.
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

IDLE_SECONDS = 0.2
# Between two slices: others are to have their turn with the database.
BREATH_SECONDS = 0.02


@contextmanager
def keeping(stop: threading.Event) -> Iterator[None]:
    """Keep the batches while the block runs; it ends once ``stop`` is set."""
    thread = threading.Thread(target=run, kwargs={"stop": stop}, name="batches")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def run(*, stop: threading.Event) -> None:
    """Work until ``stop`` is set; nothing that is away for a while ends it."""
    try:
        while not stop.is_set():
            get_liveness_writer().mark("batches")
            stop.wait(BREATH_SECONDS if _work(stop) else IDLE_SECONDS)
    finally:
        connection.close()


def _work(stop: threading.Event) -> int:
    try:
        return sweeper.sweep(now=timezone.now(), until=stop.is_set)
    except (DatabaseError, InterfaceError):
        logger.warning("database away, batches wait", exc_info=True)
        connection.close()
        return 0
