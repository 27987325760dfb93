"""Run claimed jobs; the queue and the synchronous APIs share this code.

1. Adopt: finish jobs whose document an earlier call has stored (``adoption``).
2. Start: check the claims and open attempts (``jobs.calls.start_calls``).
3. Call the backend in threads, without a database connection.
4. Store Deepgram's document, completely or not at all (``storage``, ``spool``).
5. Finish: commit all outcomes that are ready in one transaction (``finishing``).

Independent of Celery, HTTP and the vendor.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from datetime import datetime

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from jobs import calls
from jobs.accounts import audit
from jobs.calls import JobClaim
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job
from jobs.telemetry import log_context, tracing
from transcripts import documents, links, storage
from transcripts.backends import (
    StoredAudio,
    TranscriptionBackend,
    TranscriptionRequest,
    TranscriptionResult,
)
from transcripts.formats import Format, FormatSource
from transcripts.models import Transcript
from transcripts.outcomes import adoption, result_storage
from transcripts.outcomes.finishing import (
    ClaimHolder,
    FinishedCall,
    StoredResult,
    build_suspect_error,
    committer,
)

logger = logging.getLogger(__name__)


def transcribe_claims(
    claims: Sequence[JobClaim],
    *,
    holder: ClaimHolder,
    backend: TranscriptionBackend,
    threads: Executor | None = None,
) -> dict[JobClaim, str]:
    """Run claims to their ends; return the outcome of each, without the stale ones.

    Whatever the outcome, one commit closes the attempt and advances the job. It is
    retried for FINISH_GRACE_SECONDS, because the result is paid for. An outcome is
    "ok" or an error code, and the upstream's request id.
    """
    spans = {claim.job_id: claim.traceparent for claim in claims}
    adopted = adoption.adopt(claims, holder=holder, threads=threads)
    started = calls.start_calls(
        [claim for claim in claims if claim not in adopted],
        worker=holder.name,
        now=timezone.now(),
    )
    if not started:
        return adopted
    for job, _ in started:  # the spans of the calls continue those of the claims
        job.traceparent = spans.get(job.pk) or job.traceparent
    outcomes = run_calls(started, holder=holder, backend=backend, threads=threads)
    ran = [JobClaim(job.pk, job.lease_token) for job, _ in started]
    return adopted | dict(zip(ran, outcomes, strict=True))


def run_calls(
    started: Sequence[tuple[Job, Attempt]],
    *,
    holder: ClaimHolder,
    backend: TranscriptionBackend,
    threads: Executor | None = None,
) -> list[str]:
    """Make the calls of open attempts and commit their outcomes; return these.

    The first call runs in this thread, the others in ``threads``.
    """
    holder.add([job for job, _ in started])
    # The calls may take minutes: return the connection to the pool.
    _release_connection()

    def run(job: Job, attempt: Attempt) -> Callable[[], str]:
        return lambda: _run_call(job, attempt, holder=holder, backend=backend)

    first, *others = (run(*each) for each in started)
    if threads is None:
        return [work() for work in (first, *others)]
    futures = [threads.submit(copy_context().run, work) for work in others]
    try:
        outcome = first()
    finally:
        for future in futures:
            future.exception()  # waits
    return [outcome, *(future.result() for future in futures)]


def _run_call(
    job: Job, attempt: Attempt, *, holder: ClaimHolder, backend: TranscriptionBackend
) -> str:
    """Make one call and commit its outcome."""
    attributes: dict[str, tracing.Value] = {
        "transcription__job_id": str(job.pk),
        "transcription__claim": job.lease_token,
        "transcription__attempt": job.attempt,
        "transcription__mode": job.mode,
    }
    with (
        log_context.adding(**log_context.fields_of(job)),
        tracing.joined(job.traceparent),
        tracing.span("transcribe", kind=tracing.SpanRole.CONSUMER, **attributes),
    ):
        try:
            finished = _call(job, attempt, holder=holder, backend=backend)
        except BaseException:
            holder.remove([job])
            raise
        if finished is None:
            return result_storage.UNAVAILABLE
        with tracing.span("store"):
            committer.submit(finished)
    if finished.error:
        return f"error {finished.error.request_id or finished.error.code}"
    return f"ok {finished.result.request_id if finished.result else ''}"


def _call(
    job: Job, attempt: Attempt, *, holder: ClaimHolder, backend: TranscriptionBackend
) -> FinishedCall | None:
    """Call the backend and store the result; None if it could not be stored."""
    request = build_request(job, attempt)
    _release_connection()
    try:
        result = _call_backend(backend, request)
        summary = documents.parse_summary(result.document)
        if summary is None:
            message = "The upstream response is not a transcript."
            raise build_suspect_error(message, request_id=result.request_id)
    except UpstreamError as error:
        return FinishedCall(job=job, attempt=attempt, holder=holder, error=error)
    raw = result_storage.store(job, attempt, result.raw, holder=holder)
    if raw is None:
        return None
    stored = StoredResult(
        raw=raw,
        summary=summary,
        request_id=result.request_id,
        sent_bytes=result.sent_bytes,
        sent_type=result.sent_type,
    )
    return FinishedCall(job=job, attempt=attempt, holder=holder, result=stored)


def _release_connection() -> None:
    """Return the connection to the pool."""
    if not connection.in_atomic_block:
        connection.close()


def _call_backend(
    backend: TranscriptionBackend, request: TranscriptionRequest
) -> TranscriptionResult:
    with tracing.span(
        "upstream call",
        kind=tracing.SpanRole.CLIENT,
        transcription__region=request.region.name,
        transcription__model=str(request.options.get("model", "")),
    ) as span:
        try:
            result = backend.transcribe(request)
        except UpstreamError as error:
            span.set(
                transcription__request_id=error.request_id,
                http__response__status_code=error.status,
            )
            raise
        span.set(
            transcription__request_id=result.request_id,
            http__response__status_code=200,
        )
        return result


def build_request(job: Job, attempt: Attempt) -> TranscriptionRequest:
    """Return the upstream request of a claimed job; the call opens the upload."""
    source: str | StoredAudio = job.audio_url
    if job.upload:
        source = StoredAudio(
            open=lambda: default_storage.open(job.upload),
            size_bytes=job.size_bytes or 0,
            content_type=job.content_type,
        )
    return TranscriptionRequest(
        region=attempt.region,
        source=source,
        options=job.options,
        tags=build_tags(job),
        deadline_seconds=_find_deadline_seconds(job),
    )


def build_tags(job: Job) -> tuple[str, ...]:
    """Return the tags that identify this call in the upstream's request log."""
    tags = (f"job:{job.pk}", f"claim:{job.lease_token}")
    trace_id = tracing.trace_id_of(job.traceparent)
    return (*tags, f"trace:{trace_id}") if trace_id else tags


def _find_deadline_seconds(job: Job) -> float:
    """Return the time limit of the call, which is at most the job's deadline."""
    limit: float = settings.CALL_DEADLINE_SECONDS
    if job.expires_at is None:
        return limit
    return max(0.0, min(limit, (job.expires_at - timezone.now()).total_seconds()))


def make_link(
    *,
    transcript: Transcript,
    format_name: str,
    expires_in_seconds: int,
    actor: str,
    now: datetime,
) -> tuple[str, datetime]:
    """Return a link that opens the transcript without a key, and its expiry.

    An audit event records the actor; the link itself is not stored.
    """
    job = transcript.job
    url, expires_at = links.build_link(
        job=job,
        format_name=format_name,
        expires_in_seconds=expires_in_seconds,
        now=now,
    )
    audit.record(
        type="transcript.link_made",
        actor=actor,
        at=now,
        tenant=job.tenant,
        job=job,
        format=format_name,
        expires_at=expires_at,
    )
    return url, expires_at


def build_format(transcript: Transcript, chosen: Format) -> bytes:
    """Return the transcript in this format."""
    return chosen.build(FormatSource(transcript, storage.read_raw(transcript)))
