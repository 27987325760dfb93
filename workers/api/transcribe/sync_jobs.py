"""Synchronous jobs: stored like any job, then run in this process while a client waits.

The row is withheld from the queue for a limited time. If anything fails (no permit, an
error of Deepgram, a killed process), the queue runs the job.
"""

import time
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
from jobs.scheduling import long_poll
from jobs.state import JobStatus
from transcripts import queries as transcripts
from transcripts.formats.platform_json import present_transcript
from transcripts.models import Transcript
from transcripts.storage import read_document
from workers.api.transcribe import runner


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedJob:
    """An accepted job, new or of an earlier request with the same key."""

    job_id: UUID
    tenant: Tenant
    # The job, if this request created it.
    created: Job | None

    @property
    def is_replay(self) -> bool:
        """Whether an earlier request created the job."""
        return self.created is None

    def wait(self, *, seconds: float) -> Job:
        """Run the job and wait; return its current state.

        A repeated request returns the state of the first one's job. Raises
        RequestInFlight while the first request still waits.
        """
        if self.created:
            runner.get_runner().run(self.created, seconds=seconds)
        current = queries.get_job(tenant=self.tenant, job_id=self.job_id)
        if self.is_replay and _is_waited_for(current):
            raise RequestInFlight
        return current

    def wait_for_end(self, *, seconds: float) -> Job:
        """Wait for the job's end as ``wait`` does, also while the queue runs it."""
        deadline = time.monotonic() + seconds
        job = self.wait(seconds=seconds)
        while not job.is_final and (left := deadline - time.monotonic()) > 0:
            if not long_poll.wait_for_end(
                job.pk, tenant_id=job.tenant_id, seconds=left
            ):
                break
            job.refresh_from_db()
        return job


def accept(
    *,
    caller: Caller,
    submission: Submission,
    route: Route,
    now: datetime,
) -> AcceptedJob:
    """Store the job, withheld from the queue for HELD_FOR_SECONDS."""
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
        created=accepted.job,
    )


def present(job: Job) -> dict[str, Any]:
    """Return the response body of a finished job.

    Raises UnsupportedAudio or UpstreamError for a failed job, and JobStateError for a
    canceled or expired one.
    """
    transcript = get_transcript(job)
    route = {**job.route, "region": job.region_id}
    return {
        "request_id": transcript.request_id or None,
        "metadata": job.metadata,
        "transcript": present_transcript(transcript, read_document(transcript)),
        "job": job,
        "route": route,
    }


def get_transcript(job: Job) -> Transcript:
    """Return the transcript of a finished job; raises the errors of ``present``."""
    if job.status == JobStatus.FAILED:
        _raise_failure(job)
    return transcripts.get_transcript_of(job)


def _raise_failure(job: Job) -> None:
    message = f"{job.error_detail} The job is {job.pk}."
    is_audio_error = job.error_code.startswith("audio_")
    if is_audio_error or job.error_code == "upstream_refused_options":
        raise UnsupportedAudio(message, code=job.error_code)
    raise UpstreamError(message, code=job.error_code)


def _is_waited_for(job: Job) -> bool:
    """Return whether a process still runs the job for a waiting client."""
    is_held = job.status == JobStatus.QUEUED and not job.ready and not job.attempt
    is_running = job.status == JobStatus.PROCESSING
    return job.mode == Mode.SYNC and (is_held or is_running)
