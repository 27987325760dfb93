"""The synchronous door: a job like any other, and somebody who waits for it.

The row is written first, held back from the queue; then this process runs it. Whatever
happens in between (no place, a failing upstream, a killed process), the queue has it.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from jobs import queries
from jobs.accounts.caller import Caller
from jobs.api.jobs import submission as job_submission
from jobs.api.jobs.submission import Submission
from jobs.errors import RequestInFlight, UnsupportedAudio, UpstreamError
from jobs.models import Job, Mode, Tenant
from jobs.routing.hybrid_router import Route
from jobs.state import JobStatus
from transcripts import queries as transcripts
from transcripts.formats.ours import present_transcript
from transcripts.storage import read_document
from workers.api.transcribe import runner


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedJob:
    """A job that was accepted, now or before under the same key."""

    job_id: UUID
    tenant: Tenant
    # The job, if it was this request that made it.
    made: Job | None

    @property
    def replayed(self) -> bool:
        """Whether an earlier request made it."""
        return self.made is None

    def wait(self, *, seconds: float) -> Job:
        """Run it here and wait; return the job as it is then.

        A repeated request is answered with what became of the first one, and with
        RequestInFlight while that one is still being waited for.
        """
        if self.made:
            runner.get_runner().run(self.made, seconds=seconds)
        current = queries.get_job(tenant=self.tenant, job_id=self.job_id)
        if self.replayed and _is_at_the_door(current):
            raise RequestInFlight
        return current


def accept(
    *,
    caller: Caller,
    submission: Submission,
    route: Route,
    now: datetime,
) -> AcceptedJob:
    """Write the job, held back from the queue for as long as somebody waits."""
    draft = replace(
        submission.draft,
        mode=Mode.SYNC,
        route=route.describe(),
        ready=False,
        run_at=now + timedelta(seconds=runner.HELD_FOR_SECONDS),
    )
    accepted = job_submission.accept_probed(
        caller=caller, submission=replace(submission, draft=draft), now=now
    )
    return AcceptedJob(
        job_id=UUID(str(accepted.response.body["id"])),
        tenant=caller.tenant,
        made=accepted.job,
    )


def present(job: Job) -> dict[str, Any]:
    """Return what a finished job is answered with.

    Raises UnsupportedAudio or UpstreamError for one that failed, whoever's the fault,
    and JobStateError for one that was canceled or expired meanwhile.
    """
    if job.status == JobStatus.FAILED:
        _refuse(job)
    transcript = transcripts.get_transcript(tenant=job.tenant, job_id=job.pk)
    route = {**job.route, "region": job.region_id}
    return {
        "request_id": transcript.request_id,
        "metadata": job.metadata,
        "transcript": present_transcript(transcript, read_document(transcript)),
        "job": job,
        "route": route,
    }


def _refuse(job: Job) -> None:
    message = f"{job.error_detail} This was job {job.pk}."
    is_callers = job.error_code.startswith("audio_")
    if is_callers or job.error_code == "upstream_refused_options":
        raise UnsupportedAudio(message, code=job.error_code)
    raise UpstreamError(message, code=job.error_code)


def _is_at_the_door(job: Job) -> bool:
    """Tell whether a process still holds the job for somebody who waits."""
    is_held = job.status == JobStatus.QUEUED and not job.ready and not job.attempt
    is_running = job.status == JobStatus.PROCESSING
    return job.mode == Mode.SYNC and (is_held or is_running)
