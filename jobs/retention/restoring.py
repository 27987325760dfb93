"""Make a database that was restored into another cluster fit to run.

Transaction numbers are a cluster's own: those that events carry (``jobs_event.xid``)
mean nothing in another one, and may lie in its future (docs/adr/0012).
"""

from datetime import datetime, timedelta

from django.db import connection

from jobs.models import Beacon, Event, Worker

SLICE = 20_000
# The first number that a row can carry: before everything that is written from now on.
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


def find_living(*, now: datetime) -> list[str]:
    """Return the processes that said of late that they work on this database."""
    seen = {"seen_at__gte": now - ALIVE}
    return [
        *Worker.objects.filter(**seen).values_list("name", flat=True),
        *Beacon.objects.filter(**seen).values_list("name", flat=True),
    ]


def reset_positions() -> int:
    """Put all events before everything to come; return how many there are.

    In slices, each a transaction: it can be run again, and goes on.
    """
    last = "00000000-0000-0000-0000-000000000000"
    with connection.cursor() as cursor:
        while True:
            cursor.execute(_RESET, [last, SLICE, FIRST, FIRST])
            row = cursor.fetchone()
            if row is None:
                return Event.objects.count()
            last = row[0]


def forget_processes() -> None:
    """Forget who lived when the dump was made."""
    Worker.objects.all().delete()
    Beacon.objects.all().delete()
