"""Find a tenant's transcript, or say why there is none. Nothing here writes."""

from uuid import UUID

from jobs import queries
from jobs.errors import Erased, JobStateError, NotFound
from jobs.models import Content, Job, Tenant
from jobs.state import JobStatus
from transcripts.models import Transcript


def get_transcript(*, tenant: Tenant, job_id: UUID) -> Transcript:
    """Return the transcript of a completed job of this tenant, its job loaded.

    Raises NotFound for a foreign job, Erased for an erased one, and JobStateError while
    there is no result (``result_not_ready``) or when there will be none (``job_failed``
    and the like).
    """
    return get_transcript_of(queries.get_job(tenant=tenant, job_id=job_id))


def get_transcript_of(job: Job) -> Transcript:
    """Return the transcript of a job that the caller may see; raises as above."""
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
        raise NotFound("The transcript is not there any more.")
    transcript.job = job
    return transcript
