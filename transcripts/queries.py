"""Read a tenant's transcript."""

from uuid import UUID

from jobs import queries
from jobs.errors import Erased, JobStateError, NotFound
from jobs.models import Content, Job, Tenant
from jobs.state import JobStatus
from transcripts.models import Transcript


def get_transcript(*, tenant: Tenant, job_id: UUID) -> Transcript:
    """Return the transcript of a completed job of this tenant, its job loaded.

    Raises NotFound for an unknown job, Erased for an erased one, and JobStateError
    before the job has ended (``result_not_ready``) or if it has no transcript
    (``job_failed``, ``job_canceled``, ``job_expired``).
    """
    return get_transcript_of(queries.get_job(tenant=tenant, job_id=job_id))


def get_transcript_of(job: Job) -> Transcript:
    """Return the transcript of a job; raises the same errors as ``get_transcript``."""
    if job.erased_at or job.has_erased(Content.TRANSCRIPT):
        raise Erased
    if not job.is_final:
        message = f"The job is {job.status}: there is no transcript yet."
        raise JobStateError(message, code="result_not_ready")
    if job.status != JobStatus.COMPLETED:
        reason = f" ({job.error_code})" if job.error_code else ""
        message = f"The job is {job.status}{reason}: it has no transcript."
        raise JobStateError(message, code=f"job_{job.status}")
    transcript = Transcript.objects.filter(pk=job.pk).first()
    if transcript is None:
        raise NotFound("The transcript no longer exists.")
    transcript.job = job
    return transcript
