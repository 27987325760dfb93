"""The row that shows a dispatcher or beat as alive to web processes elsewhere."""

import logging
import os
import secrets
import socket
import time
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, connection
from django.db.models.functions import Now

from jobs.models import Beacon, Worker

logger = logging.getLogger(__name__)

ANNOUNCE_SECONDS = 2.0
STALE_AFTER = timedelta(hours=1)
_not_before = 0.0


def build_name() -> str:
    """Return a unique name that starts with the host and the process id.

    A restarted container has the host name and process id of the previous one.
    """
    return f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"


PROCESS_NAME = build_name()


def announce(role: str) -> None:
    """Update the row, at most every two seconds; deletes rows of dead processes."""
    global _not_before  # noqa: PLW0603  one row per process
    if time.monotonic() < _not_before:
        return
    _not_before = time.monotonic() + ANNOUNCE_SECONDS
    try:
        Beacon.objects.update_or_create(
            name=PROCESS_NAME, defaults={"role": role, "seen_at": Now()}
        )
        Beacon.objects.filter(role=role, seen_at__lt=Now() - STALE_AFTER).delete()
        # Killed workers and web processes leave their rows behind.
        Worker.objects.filter(seen_at__lt=Now() - STALE_AFTER).delete()
    except (DatabaseError, InterfaceError):
        logger.warning("process row not updated")
        connection.close()


def withdraw() -> None:
    """Delete the row at a normal exit."""
    try:
        Beacon.objects.filter(name=PROCESS_NAME).delete()
    except (DatabaseError, InterfaceError):
        connection.close()
