"""Commit what was paid for, however long the database or the storage is away."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

logger = logging.getLogger(__name__)


def persist(commit: Callable[[datetime], object]) -> None:
    """Commit the outcome of a paid call, again and again while what it needs is away.

    A lease that ran out meanwhile does not void it; only a newer claim does.
    """
    give_up = time.monotonic() + settings.FINISH_GRACE_SECONDS
    wait = 0.1
    while True:
        try:
            commit(timezone.now())
        except (OperationalError, InterfaceError, OSError):
            if connection.in_atomic_block or time.monotonic() + wait > give_up:
                raise
            logger.warning("database or storage away, result held", exc_info=True)
            with suppress(Exception):
                connection.close()
            time.sleep(wait)
            wait = min(5.0, wait * 2)
        else:
            return
