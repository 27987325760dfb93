"""A task for a worker of the real app (`--include tests.fakes.naps`): it only sleeps."""

import time
from pathlib import Path

from celery import shared_task


@shared_task(name="tests.nap", acks_late=True)
def nap(*, began: str, seconds: float) -> None:
    """Touch a file, and sleep."""
    Path(began).touch()
    time.sleep(seconds)
