"""Is there anything to do? One cheap statement, asked ten times a second.

Each question is one probe of a partial index; a tick does only what is due.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from jobs import services

# A message is usually taken within milliseconds; this long, and something is wrong.
RECALL_AFTER = timedelta(seconds=1)

# Not clock_timestamp(): a volatile function cannot bound an index scan. Ordered, and
# not EXISTS: that forgets the order, and the index, when it hopes for an early hit.
_QUESTIONS = """
SELECT statement_timestamp(), pg_postmaster_start_time(),
  (SELECT lease_until FROM jobs_job WHERE status = 'processing'
   ORDER BY lease_until LIMIT 1) < statement_timestamp(),
  EXISTS (SELECT 1 FROM jobs_job WHERE status = 'processing' AND mode = 'live'
          AND lease_until < statement_timestamp()),
  (SELECT expires_at FROM jobs_job
   WHERE status IN ('processing', 'queued') AND expires_at IS NOT NULL
   ORDER BY expires_at LIMIT 1) <= statement_timestamp(),
  (SELECT run_at FROM jobs_job WHERE status = 'queued' AND NOT ready
   ORDER BY run_at LIMIT 1) <= statement_timestamp(),
  EXISTS (SELECT 1 FROM jobs_job WHERE status = 'processing' AND worker = ''
          AND lease_until < statement_timestamp() + make_interval(secs => %s)),
  (SELECT lane FROM jobs_job WHERE status = 'queued' AND ready
   ORDER BY lane LIMIT 1) IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWork:
    """What a tick has to do, by the database's clock."""

    at: datetime
    server_up_since: datetime
    lost: bool
    lost_live: bool
    late: bool
    waiting: bool
    stuck: bool
    ready: bool

    @property
    def is_anything(self) -> bool:
        """Whether the tick has work at all."""
        return self.lost or self.late or self.waiting or self.stuck or self.ready


def find_pending_work() -> PendingWork:
    """Ask the database, whose clock all leases go by."""
    patience = services.lease_time() - RECALL_AFTER
    with connection.cursor() as cursor:
        cursor.execute(_QUESTIONS, [patience.total_seconds()])
        at, up_since, *answers = cursor.fetchone()
    lost, lost_live, late, waiting, stuck, ready = answers
    return PendingWork(
        at=at,
        server_up_since=up_since,
        lost=bool(lost),  # null where there is no row at all
        lost_live=lost_live,
        late=bool(late),
        waiting=bool(waiting),
        stuck=stuck,
        ready=ready,
    )
