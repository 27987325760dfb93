"""Accept a job at the door: examine its audio, keep it, write the row, answer once.

Nothing half-written: the upload reaches storage inside the transaction that names it,
and leaves it again if that transaction fails. The row itself is ``jobs.services``'.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction

from jobs import options, services
from jobs.accounts.caller import Caller
from jobs.audio import probe, uploads
from jobs.audio.uploads import IncomingFile
from jobs.concurrency import thread_limits
from jobs.models import Job, Tenant
from jobs.rest import idempotency
from jobs.rest.idempotency import StoredResponse
from jobs.scheduling import dispatch
from jobs.services import JobDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A checked request for a job; ``body`` is what was sent, to compare repeats by.

    ``door`` is where it came in: an Idempotency-Key is one door's.
    """

    draft: JobDraft
    body: dict[str, Any] = field(default_factory=dict)
    file: IncomingFile | None = None
    door: str = "submit"


def accept_job(
    *,
    caller: Caller,
    submission: Submission,
    answer: Callable[[Job], StoredResponse],
    now: datetime,
) -> tuple[StoredResponse, bool]:
    """Accept a job and return its answer, and whether that is a repeated one.

    Raises UnsupportedAudio, IdempotencyConflict, or InvalidRequest for options that
    cannot go together; then neither row nor object is left.
    """
    with holding(submission):
        return accept_examined(
            caller=caller,
            submission=examine(tenant=caller.tenant, submission=submission),
            answer=answer,
            now=now,
        )


def holding(submission: Submission) -> AbstractContextManager[object]:
    """Close the submission's file at the end; what was not kept by then is gone."""
    return closing(submission.file) if submission.file else nullcontext()


def examine(*, tenant: Tenant, submission: Submission) -> Submission:
    """Return the submission with what its file is; nothing is kept or written.

    Raises UnsupportedAudio, InvalidRequest for options that cannot go together, or
    ServiceUnavailable where too many files are being examined.
    """
    effective = services.build_options(tenant, submission.draft.options)
    options.check_combination(effective)
    if submission.file is None:
        return submission
    with thread_limits.reserve_probing_thread(tenant.pk):
        draft = _describe(submission.draft, submission.file, effective, tenant)
    return replace(submission, draft=draft)


def retry_job(
    *, caller: Caller, job: Job, answer: Callable[[Job], StoredResponse], now: datetime
) -> tuple[StoredResponse, bool]:
    """Submit a final job again and return the answer, once per Idempotency-Key."""

    def make() -> StoredResponse:
        again = services.retry_job(job=job, api_key=caller.api_key, now=now)
        transaction.on_commit(dispatch.wake)
        return answer(again)

    return idempotency.answer_once(
        tenant=caller.tenant,
        route=f"retry {job.pk}",
        key=caller.key,
        digest=b"",
        now=now,
        make=make,
    )


def _describe(
    draft: JobDraft, file: IncomingFile, effective: dict[str, Any], tenant: Tenant
) -> JobDraft:
    """Add what the file is; the options say so themselves of headerless audio."""
    if "encoding" in effective:
        found = probe.describe_raw(file.size or 0, effective)
    else:
        path = Path(file.temporary_file_path())
        found = probe.probe_audio(path, tenant=tenant.pk)
    return replace(
        draft,
        filename=file.name or "",
        content_type=found.content_type,
        size_bytes=file.size,
        sha256=file.sha256,
        duration_seconds=found.duration_seconds,
        channels=found.channels,
        is_silent=found.is_silent,
    )


def accept_examined(
    *,
    caller: Caller,
    submission: Submission,
    answer: Callable[[Job], StoredResponse],
    now: datetime,
) -> tuple[StoredResponse, bool]:
    """Keep the file, write the job and its answer; closing the file is the caller's.

    Raises IdempotencyConflict; then neither row nor object is left.
    """
    file, kept = submission.file, ""

    def make() -> StoredResponse:
        nonlocal kept
        if file:
            kept = uploads.store_upload(file, tenant_id=caller.tenant.pk)
        job = services.submit_job(
            tenant=caller.tenant,
            api_key=caller.api_key,
            draft=replace(submission.draft, upload=kept),
            now=now,
        )
        transaction.on_commit(dispatch.wake)
        return answer(job)

    try:
        return idempotency.answer_once(
            tenant=caller.tenant,
            route=submission.door,
            key=caller.key,
            digest=idempotency.digest_of(
                [submission.body, submission.draft.filename, submission.draft.sha256]
            ),
            now=now,
            make=make,
        )
    except BaseException as error:
        # A commit nobody answered may stand: the daily sweep decides by the row.
        if kept and not uploads.is_outcome_unknown(error):
            uploads.discard_upload(kept)
        raise
