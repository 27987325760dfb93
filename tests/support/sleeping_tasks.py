"""For a worker of the real app (`--include tests.support.sleeping_tasks`): what only sleeps."""

import time
from pathlib import Path
from typing import Any

from celery import shared_task
from celery.worker.control import control_command


@shared_task(name="tests.nap", acks_late=True)
def nap(*, began: str, seconds: float) -> None:
    """Touch a file, and sleep."""
    Path(began).touch()
    time.sleep(seconds)


@control_command()
def doze(_state: Any, seconds: float) -> None:
    """Hold up the consumer's loop, where such commands run, and nothing else."""
    time.sleep(seconds)
