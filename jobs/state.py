"""The statuses of a job and the moves between them.

``docs/states.md`` is drawn from this table (`manage.py state_diagram`).
"""

from django.db import models


class JobStatus(models.TextChoices):
    """Where a job stands; waiting to retry is ``queued`` with a later ``run_at``."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


FINAL = frozenset(
    {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.EXPIRED}
)
OPEN = frozenset(JobStatus) - FINAL

ALLOWED_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset(
        {
            JobStatus.PROCESSING,
            # A paid result that comes after its lease ran out and before a new claim.
            JobStatus.COMPLETED,
            JobStatus.FAILED,
            JobStatus.CANCELED,
            JobStatus.EXPIRED,
        }
    ),
    JobStatus.PROCESSING: FINAL | {JobStatus.QUEUED},
    **{status: frozenset[JobStatus]() for status in FINAL},
}


def sources_of(to: JobStatus) -> list[JobStatus]:
    """Return the statuses from which ``to`` may be reached."""
    return [status for status, moves in ALLOWED_MOVES.items() if to in moves]
