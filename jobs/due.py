"""Is there anything to do? One cheap statement, asked ten times a second.

Each question is one probe of a partial index; a tick does only what is due.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from jobs import services

# A message is usually taken within milliseconds; this long, and something is wrong.
RECALL_AFTER = timedelta(seconds=1)

# Not clock_timestamp(): a volatile function cannot bound an index scan.
_QUESTIONS = """
SELECT statement_timestamp(), pg_postmaster_start_time(),
  EXISTS (SELECT 1 FROM jobs_job
          WHERE status = 'processing' AND lease_until < statement_timestamp()),
  EXISTS (SELECT 1 FROM jobs_job WHERE status IN ('processing', 'queued')
          AND expires_at <= statement_timestamp()),
  EXISTS (SELECT 1 FROM jobs_job
          WHERE status = 'queued' AND NOT ready AND run_at <= statement_timestamp()),
  EXISTS (SELECT 1 FROM jobs_job WHERE status = 'processing' AND worker = ''
          AND lease_until < statement_timestamp() + make_interval(secs => %s)),
  EXISTS (SELECT 1 FROM jobs_job WHERE status = 'queued' AND ready)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a tick has to do, by the database's clock."""

    at: datetime
    server_up_since: datetime
    lost: bool
    late: bool
    waiting: bool
    stuck: bool
    ready: bool

    @property
    def is_anything(self) -> bool:
        """Whether the tick has work at all."""
        return self.lost or self.late or self.waiting or self.stuck or self.ready


def find_due() -> Due:
    """Ask the database, whose clock all leases go by."""
    patience = services.lease_time() - RECALL_AFTER
    with connection.cursor() as cursor:
        cursor.execute(_QUESTIONS, [patience.total_seconds()])
        at, up_since, lost, late, waiting, stuck, ready = cursor.fetchone()
    return Due(
        at=at,
        server_up_since=up_since,
        lost=lost,
        late=late,
        waiting=waiting,
        stuck=stuck,
        ready=ready,
    )
