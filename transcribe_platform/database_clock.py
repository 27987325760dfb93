"""Let ``timezone.now()`` return the database's time, whatever clock a host has.

Rows with times are written and compared by processes on many hosts: retries, webhook
deliveries, deadlines, expiry. One wrong clock would delay them or drop their backoff,
and receivers reject signatures of another time. Each process therefore reads the
database's clock when it connects, at most once a minute, and counts on from there with
a clock that nobody sets. Until the first connection it is the host's clock.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.signals import connection_created
from django.utils import timezone

REFRESH_SECONDS = 60.0
# Also counts while a machine is suspended; only Linux has it.
_COUNTER = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# The database's time at a reading of the counter.
_anchor: tuple[datetime, float] | None = None


def follow() -> None:
    """Follow the database's clock; call it before models bind ``timezone.now``."""
    timezone.now = now
    connection_created.connect(_read, dispatch_uid=__name__)


def now() -> datetime:
    """Return the database's current time, in UTC."""
    if _anchor is None:
        return datetime.now(UTC)
    at, count = _anchor
    return at + timedelta(seconds=time.clock_gettime(_COUNTER) - count)


def _read(connection: Any, **_signal: Any) -> None:
    global _anchor  # noqa: PLW0603  one clock per process
    began = time.clock_gettime(_COUNTER)
    if _anchor is not None and began - _anchor[1] < REFRESH_SECONDS:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (at,) = cursor.fetchone()
    # The server's answer was on its way for about half of the time.
    _anchor = at, (began + time.clock_gettime(_COUNTER)) / 2
