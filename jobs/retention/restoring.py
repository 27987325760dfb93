"""Prepare a database that was restored into another PostgreSQL cluster.

Transaction ids are specific to a cluster: those of events (``jobs_event.xid``) are
meaningless in another one, and may be in its future (docs/adr/0012).
"""

from datetime import datetime, timedelta

from django.db import connection

from jobs.models import Beacon, Event, Worker

SLICE = 20_000
# The lowest transaction id of a row, before all future ones (FirstNormalTransactionId).
FIRST = "3"
ALIVE = timedelta(seconds=15)

_RESET = """
WITH slice AS (SELECT id FROM jobs_event WHERE id > %s ORDER BY id LIMIT %s),
  reset AS (
    UPDATE jobs_event SET xid = %s::xid8
    WHERE id IN (SELECT id FROM slice) AND xid <> %s::xid8
  )
SELECT id FROM slice ORDER BY id DESC LIMIT 1
"""


def find_live_processes(*, now: datetime) -> list[str]:
    """Return the names of processes that sent a heartbeat within ``ALIVE``."""
    seen = {"seen_at__gte": now - ALIVE}
    return [
        *Worker.objects.filter(**seen).values_list("name", flat=True),
        *Beacon.objects.filter(**seen).values_list("name", flat=True),
    ]


def reset_positions() -> int:
    """Set the transaction id of all events to ``FIRST``; return how many there are.

    One transaction per slice: an interrupted run can be repeated.
    """
    last = "00000000-0000-0000-0000-000000000000"
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_RESET, [last, SLICE, FIRST, FIRST])
            row = cursor.fetchone()
            if row is None:
                return Event.objects.count()
            last = row[0]


def delete_process_rows() -> None:
    """Delete the rows of processes that ran when the dump was made."""
    Worker.objects.all().delete()
    Beacon.objects.all().delete()
