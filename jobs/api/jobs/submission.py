"""Accept a job: probe its upload, store the file, write the row, answer once per key.

Atomic: the file is stored inside the transaction that names it and deleted again if
that fails. ``jobs.services`` writes the row.
"""

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from django.db import transaction
from rest_framework import status

from jobs import options, services
from jobs.accounts.caller import Caller
from jobs.api.jobs.serializers import JobInput, JobOutput, build_draft
from jobs.audio import probe, uploads
from jobs.audio.uploads import IncomingFile
from jobs.concurrency import thread_limits
from jobs.models import Job, Tenant
from jobs.rest.idempotency import IdempotentRequest, StoredResponse, compute_digest
from jobs.scheduling import dispatch
from jobs.services import JobDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A valid request for a job.

    ``body`` is compared to detect a reused Idempotency-Key. Keys of different
    operations do not collide.
    """

    draft: JobDraft
    body: dict[str, Any] = field(default_factory=dict)
    file: IncomingFile | None = None
    operation: str = "submit"

    @classmethod
    def build(cls, form: JobInput, *, operation: str, now: datetime) -> Self:
        """Return the submission of a valid form; deadlines count from ``now``."""
        fields: dict[str, Any] = form.validated_data
        body = {name: form.initial_data[name] for name in fields if name != "file"}
        draft = build_draft(fields, now=now)
        return cls(draft=draft, body=body, file=fields.get("file"), operation=operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionResult:
    """The stored response of a submission; ``job`` is None if it is a replay."""

    response: StoredResponse
    job: Job | None = None

    @property
    def is_replay(self) -> bool:
        """Whether an earlier request with the same key created the job."""
        return self.job is None


def accept_job(
    *, caller: Caller, submission: Submission, now: datetime
) -> SubmissionResult:
    """Accept a job and close its file.

    Raises UnsupportedAudio, IdempotencyConflict, or InvalidRequest for conflicting
    options; after an error, no row and no stored file remain.
    """
    with closing_file(submission):
        submission = probe_upload(tenant=caller.tenant, submission=submission)
        return accept_probed(caller=caller, submission=submission, now=now)


def closing_file(submission: Submission) -> AbstractContextManager[object]:
    """Close the uploaded file after the block; it is deleted unless stored by then."""
    return closing(submission.file) if submission.file else nullcontext()


def probe_upload(*, tenant: Tenant, submission: Submission) -> Submission:
    """Return the submission with the properties of its file; writes nothing.

    Raises UnsupportedAudio, InvalidRequest for conflicting options, or
    ServiceUnavailable if too many files are being probed.
    """
    effective = services.build_options(tenant, submission.draft.options)
    options.check_combination(effective)
    if submission.file is None:
        options.check_combination_for_url(submission.draft.options)
        return submission
    with thread_limits.reserve_probing_thread(tenant.pk):
        draft = _describe(submission.draft, submission.file, effective, tenant)
    return replace(submission, draft=draft)


def accept_probed(
    *, caller: Caller, submission: Submission, now: datetime
) -> SubmissionResult:
    """Store the file, write the job and its response; the caller closes the file.

    Raises IdempotencyConflict; after an error, no row and no stored file remain.
    """
    draft = submission.draft
    request = IdempotentRequest(
        tenant=caller.tenant,
        route=submission.operation,
        key=caller.key,
        digest=compute_digest([submission.body, draft.filename, draft.sha256]),
        now=now,
    )
    file, upload = submission.file, ""
    try:
        # Without a key, the one statement of the job needs no transaction.
        with request.lock() if request.key else nullcontext() as stored:
            if stored:
                return SubmissionResult(response=stored)
            if file:
                upload = uploads.store_upload(file, tenant_id=caller.tenant.pk)
            job = services.submit_job(
                tenant=caller.tenant,
                api_key=caller.api_key,
                draft=replace(draft, upload=upload),
                now=now,
                build_record=lambda job: (
                    request.build_record(build_accepted(job)) if request.key else None
                ),
            )
            transaction.on_commit(dispatch.wake)
            return SubmissionResult(response=build_accepted(job), job=job)
    except BaseException as error:
        # If the commit may have succeeded, the daily sweep decides by the row.
        if upload and not uploads.is_outcome_unknown(error):
            uploads.discard_upload(upload)
        raise


def retry_job(*, caller: Caller, job: Job, now: datetime) -> SubmissionResult:
    """Submit a final job again, once per Idempotency-Key."""
    request = IdempotentRequest(
        tenant=caller.tenant,
        route=f"retry {job.pk}",
        key=caller.key,
        digest=b"",
        now=now,
    )
    with request.lock() as stored:
        if stored:
            return SubmissionResult(response=stored)
        retried = services.retry_job(job=job, api_key=caller.api_key, now=now)
        transaction.on_commit(dispatch.wake)
        response = build_accepted(retried)
        request.store(response)
        return SubmissionResult(response=response, job=retried)


def build_accepted(job: Job) -> StoredResponse:
    """Return the 202 response of a job that has not ended."""
    return StoredResponse(
        status_code=status.HTTP_202_ACCEPTED,
        body=JobOutput().to_representation(job),
        location=f"/v1/jobs/{job.pk}",
    )


def _describe(
    draft: JobDraft, file: IncomingFile, effective: dict[str, Any], tenant: Tenant
) -> JobDraft:
    """Add the properties of the file; raw audio is described by the options."""
    if "encoding" in effective:
        found = probe.describe_raw(file.size or 0, effective)
    else:
        path = Path(file.temporary_file_path())
        track = effective.get("audio_track")
        found = probe.probe_audio(path, tenant=tenant.pk, track=track)
    chosen = {"audio_track": found.track} if found.has_several_tracks else {}
    return replace(
        draft,
        filename=file.name or "",
        content_type=found.content_type,
        size_bytes=file.size,
        sha256=file.sha256,
        duration_seconds=found.duration_seconds,
        channels=found.channels,
        is_silent=found.is_silent,
        options={**draft.options, **chosen},
        warnings=[*draft.warnings, *found.find_warnings()],
    )
