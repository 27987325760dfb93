"""The row that shows a dispatcher or beat as alive to web processes elsewhere."""

import logging
import os
import secrets
import socket
import time
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, connection
from django.db.models.functions import Now

from jobs.models import Beacon, Worker, prepared_statements
from jobs.scheduling import dispatch

logger = logging.getLogger(__name__)

ANNOUNCE_SECONDS = 2.0
STALE_AFTER = timedelta(hours=1)
PURGE_SECONDS = 60.0
_ANNOUNCE = """
INSERT INTO jobs_beacon (name, role, seen_at) VALUES ($1, $2, now())
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at
"""
_not_before = 0.0
_purge_at = 0.0
_has_failed = False


def build_name() -> str:
    """Return a unique name that starts with the host and the process id.

    A restarted container has the host name and process id of the previous one.
    """
    return f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(3)}"


PROCESS_NAME = build_name()


def announce(role: str) -> None:
    """Update the row, at most every two seconds; deletes rows of dead processes."""
    global _not_before, _purge_at, _has_failed  # noqa: PLW0603  one row per process
    if time.monotonic() < _not_before:
        return
    _not_before = time.monotonic() + ANNOUNCE_SECONDS
    try:
        _has_failed = True  # until the statements have ended
        prepared_statements.fetch(_ANNOUNCE, [PROCESS_NAME, role])
        if time.monotonic() >= _purge_at:
            _purge_at = time.monotonic() + PURGE_SECONDS
            _purge(role)
        _has_failed = False
    except (DatabaseError, InterfaceError):
        logger.warning("process row not updated")
        connection.close()


def has_announced() -> bool:
    """Return False if this process's last update of its row failed."""
    return not _has_failed


def _purge(role: str) -> None:
    """Delete the rows of killed processes, and the queues of killed workers."""
    stale = Now() - STALE_AFTER
    Beacon.objects.filter(role=role, seen_at__lt=stale).delete()
    dead = Worker.objects.filter(seen_at__lt=stale)
    for name in list(dead.filter(accepts_batches=True).values_list("name", flat=True)):
        dispatch.delete_process_queue(name)
    dead.delete()


def withdraw() -> None:
    """Delete the row at a normal exit."""
    try:
        Beacon.objects.filter(name=PROCESS_NAME).delete()
    except (DatabaseError, InterfaceError):
        connection.close()
