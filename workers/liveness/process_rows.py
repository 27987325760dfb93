"""Say in a row that this dispatcher or beat works: web processes elsewhere see it."""

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
KEPT = timedelta(hours=1)
# In a container a process has the host name and pid of the one before it.
_name = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"
_not_before = 0.0


def announce(role: str) -> None:
    """Renew the row, at most every two seconds and if the database is there."""
    global _not_before  # noqa: PLW0603  one row a process
    if time.monotonic() < _not_before:
        return
    _not_before = time.monotonic() + ANNOUNCE_SECONDS
    try:
        Beacon.objects.update_or_create(
            name=_name, defaults={"role": role, "seen_at": Now()}
        )
        Beacon.objects.filter(role=role, seen_at__lt=Now() - KEPT).delete()
        # Of those that were killed, and of doors, which end without a word.
        Worker.objects.filter(seen_at__lt=Now() - KEPT).delete()
    except (DatabaseError, InterfaceError):
        logger.warning("could not announce this process")
        connection.close()


def withdraw() -> None:
    """Take the row away: the process ends in order."""
    try:
        Beacon.objects.filter(name=_name).delete()
    except (DatabaseError, InterfaceError):
        connection.close()
