"""Find out whether a tick has work: one cheap query, ten times a second.

Each condition is one probe of a partial index; a tick runs only the steps with work.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs import services
from jobs.models import prepared_statements

# A worker usually receives a message within milliseconds; later is suspicious.
RECALL_AFTER = timedelta(seconds=1)

# statement_timestamp(), because the volatile clock_timestamp() cannot bound an index
# scan. ORDER BY … LIMIT 1, because the planner may run EXISTS without the index.
_FIND_PENDING_WORK = """
SELECT statement_timestamp(), pg_postmaster_start_time(),
  (SELECT lease_until FROM jobs_job WHERE status = 'processing'
   ORDER BY lease_until LIMIT 1),
  EXISTS (SELECT 1 FROM jobs_job WHERE status = 'processing' AND mode = 'live'
          AND lease_until < statement_timestamp()),
  (SELECT expires_at FROM jobs_job
   WHERE status IN ('processing', 'queued') AND expires_at IS NOT NULL
   ORDER BY expires_at LIMIT 1),
  (SELECT run_at FROM jobs_job WHERE status = 'queued' AND NOT ready
   ORDER BY run_at LIMIT 1),
  EXISTS (SELECT 1 FROM jobs_job WHERE status = 'processing' AND started_at IS NULL
          AND lease_until < statement_timestamp() + make_interval(secs => $1)),
  (SELECT lane FROM jobs_job WHERE status = 'queued' AND ready
   ORDER BY lane LIMIT 1) IS NOT NULL
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWork:
    """The work of a tick, and the database's time ``at`` which it was found."""

    at: datetime
    server_up_since: datetime
    lost_leases: bool
    lost_live_leases: bool
    passed_deadlines: bool
    passed_run_times: bool
    unstarted_claims: bool
    ready_to_run: bool
    # When the next lease, deadline or run time passes; None: there is none.
    next_at: datetime | None

    @property
    def has_any(self) -> bool:
        """Whether the tick has any work."""
        return (
            self.lost_leases
            or self.passed_deadlines
            or self.passed_run_times
            or self.unstarted_claims
            or self.ready_to_run
        )


def find_pending_work() -> PendingWork:
    """Query the database, whose clock is the reference of all leases."""
    lease_left = services.lease_time() - RECALL_AFTER
    (row,) = prepared_statements.fetch(_FIND_PENDING_WORK, [lease_left.total_seconds()])
    at, up_since, lease, lost_live, deadline, run_at, unstarted, ready = row
    times = [each for each in (lease, deadline, run_at) if each is not None]
    return PendingWork(
        at=at,
        server_up_since=up_since,
        lost_leases=lease is not None and lease < at,
        lost_live_leases=lost_live,
        passed_deadlines=deadline is not None and deadline <= at,
        passed_run_times=run_at is not None and run_at <= at,
        unstarted_claims=unstarted,
        ready_to_run=ready,
        next_at=min(times, default=None),
    )
