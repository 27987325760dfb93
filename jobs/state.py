"""The statuses of a job and the transitions between them.

``manage.py state_diagram`` draws ``docs/states.md`` from this table.
"""

from django.db import models


class JobStatus(models.TextChoices):
    """The state of a job; one that waits for a retry is ``queued`` with ``run_at``."""

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

ALLOWED_TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset(
        {
            JobStatus.PROCESSING,
            # A paid result that arrives after the lease expired and before a new claim.
            JobStatus.COMPLETED,
            JobStatus.FAILED,
            JobStatus.CANCELED,
            JobStatus.EXPIRED,
        }
    ),
    JobStatus.PROCESSING: FINAL | {JobStatus.QUEUED},
    **{status: frozenset[JobStatus]() for status in FINAL},
}


def find_sources(to: JobStatus) -> list[JobStatus]:
    """Return the statuses that have a transition to ``to``."""
    return [status for status, targets in ALLOWED_TRANSITIONS.items() if to in targets]
