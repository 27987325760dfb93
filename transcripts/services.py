"""Transcribe a claimed job; the queue and the synchronous APIs share this code.

1. Start: check the claim and open an attempt (``jobs.services.start_call``).
2. Call the backend, without a database connection.
3. Finish: commit transcript, attempt, job status and event in one transaction.

Independent of Celery, HTTP and the vendor.
"""

import logging
import random
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.utils import timezone

from jobs import backoff, services
from jobs.accounts import audit
from jobs.errors import UpstreamError
from jobs.models import Attempt, Job
from jobs.quotas import quotas
from jobs.routing import regions
from jobs.state import JobStatus
from jobs.telemetry import log_context, tracing
from transcripts import documents, links, prices, storage
from transcripts.backends import (
    StoredAudio,
    TranscriptionBackend,
    TranscriptionRequest,
    TranscriptionResult,
)
from transcripts.formats import Format, FormatSource
from transcripts.models import Transcript
from transcripts.search import indexing

logger = logging.getLogger(__name__)

SUSPECT = "suspect_result"


class ClaimHolder(Protocol):
    """The process that runs a call and extends its lease and permit meanwhile."""

    name: str

    def hold(self, job: Job) -> AbstractContextManager[None]:
        """Extend the lease and permit of the claim during the block."""


def transcribe_job(
    *,
    job_id: UUID,
    lease_token: int,
    holder: ClaimHolder,
    backend: TranscriptionBackend,
) -> bool:
    """Run one claim to its end; return False if the claim is stale.

    Whatever the outcome, one commit closes the attempt and advances the job. It is
    retried for FINISH_GRACE_SECONDS, because the result is paid for.
    """
    started = services.start_call(
        job_id=job_id, lease_token=lease_token, worker=holder.name, now=timezone.now()
    )
    if started is None:
        return False
    run_call(*started, holder=holder, backend=backend)
    return True


def run_call(
    job: Job, attempt: Attempt, *, holder: ClaimHolder, backend: TranscriptionBackend
) -> None:
    """Make the call of an open attempt and commit its outcome."""
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
        holder.hold(job),
    ):
        _call(job, attempt, backend=backend)


def _call(job: Job, attempt: Attempt, *, backend: TranscriptionBackend) -> None:
    request = build_request(job, attempt)
    # The call may take minutes: return the connection to the pool.
    if not connection.in_atomic_block:
        connection.close()
    try:
        result = _call_backend(backend, request)
        summary = documents.parse_summary(result.document)
        if summary is None:
            raise _suspect("The upstream response is not a transcript.", result)
    except UpstreamError as error:
        failure = error
        with tracing.span("store"):
            storage.commit_with_retries(
                lambda now: fail(job, attempt, error=failure, now=now)
            )
        return
    raws: list[str] = []

    def commit(now: datetime) -> None:
        if not raws:  # store once, however often the commit is retried
            raws.append(storage.store_raw(job, attempt, result.raw))
        finish(job, attempt, result=result, summary=summary, raw=raws[0], now=now)

    with tracing.span("store"):
        storage.commit_with_retries(commit)


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


def finish(
    job: Job,
    attempt: Attempt,
    *,
    result: TranscriptionResult,
    summary: documents.Summary,
    raw: str,
    now: datetime,
) -> None:
    """Commit a result: transcript, attempt, status and event in one transaction.

    A suspect result gets one more call; a second one is accepted with its warnings. A
    stale claim closes its attempt, which was paid for, but leaves no transcript. An
    expired lease makes a claim stale only once the job is claimed again.
    """
    warnings = documents.find_warnings(
        summary,
        expected_seconds=job.exact_duration_seconds,
        expected_channels=job.channels if job.options.get("multichannel") else None,
        is_silent=job.is_silent,
    )
    suspect = [each for each in warnings if each["code"] in documents.SUSPECT]
    if suspect and _can_retry_suspect(job):
        error = _suspect(suspect[0]["detail"], result)
        default_storage.delete(raw)
        fail(job, attempt, error=error, now=now, cost=_build_cost(job, summary))
        return
    with transaction.atomic():
        is_first = _close_paid(job, attempt, result=result, summary=summary, now=now)
        moved = is_first and complete(
            job,
            summary,
            raw=raw,
            request_id=result.request_id,
            warnings=warnings,
            now=now,
        )
        if is_first and not moved:
            quotas.count_late(attempt)
    if not moved:
        drop_unused(job, raw)


def drop_unused(job: Job, raw: str) -> None:
    """Delete a stored document unless a transcript uses it.

    A commit that seemed to fail may have succeeded: then the document is in use.
    """
    if not Transcript.objects.filter(job=job, raw=raw).exists():
        logger.info("result of a stale claim dropped", extra=log_context.fields_of(job))
        default_storage.delete(raw)


def complete(
    job: Job,
    summary: documents.Summary,
    *,
    raw: str,
    request_id: str,
    warnings: list[Any],
    now: datetime,
) -> bool:
    """Complete the job and write its transcript; False for a stale claim.

    Call it in the transaction that closes the attempt.
    """
    moved = services.advance(
        _claim(job),
        to=JobStatus.COMPLETED,
        at=now,
        warnings=[*job.warnings, *warnings],
        duration_seconds=job.exact_duration_seconds or summary.duration_seconds,
        ready=False,
        run_at=None,
    )
    if moved:
        transcript = Transcript.objects.create(
            job=job,
            raw=raw,
            request_id=request_id,
            created_at=now,
            is_indexed=True,
            **{name: getattr(summary, name) for name in _SUMMARY_FIELDS},
        )
        indexing.index_transcript(transcript, job)
    return bool(moved)


def _close_paid(
    job: Job,
    attempt: Attempt,
    *,
    result: TranscriptionResult,
    summary: documents.Summary,
    now: datetime,
) -> bool:
    """Close the attempt with its cost; False if an earlier commit succeeded."""
    return services.close_attempt(
        attempt,
        outcome=Attempt.Outcome.OK,
        now=now,
        request_id=result.request_id,
        status_code=200,
        **_build_cost(job, summary),
    )


def _build_cost(job: Job, summary: documents.Summary) -> dict[str, Any]:
    """Return the attempt fields that the upstream bills, also for a suspect result."""
    return {
        "audio_seconds": summary.duration_seconds,
        "cost_estimate": prices.estimate_cost(
            model=str(job.options.get("model", "")),
            audio_seconds=summary.duration_seconds,
            channels=summary.channels,
            per_minute=settings.PRICES_PER_MINUTE,
        ),
    }


_SUMMARY_FIELDS = tuple(documents.Summary.__dataclass_fields__)


def fail(
    job: Job,
    attempt: Attempt,
    *,
    error: UpstreamError,
    now: datetime,
    cost: Mapping[str, Any] | None = None,
) -> None:
    """Commit a failed call: close the attempt, then retry or fail the job.

    ``cost`` has the attempt fields of a failed call that is billed.
    """
    decision = backoff.next_try(
        error,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        same_errors=_alike(job, attempt, error),
        curve=backoff.Curve(
            base_seconds=settings.BACKOFF_BASE_SECONDS,
            cap_seconds=settings.BACKOFF_CAP_SECONDS,
        ),
        uniform=random.uniform,
    )
    with transaction.atomic():
        if error.failure == backoff.Failure.ACCOUNT:
            regions.pause_region(name=attempt.region_id, reason=error.code, now=now)
        services.close_attempt(
            attempt,
            outcome=Attempt.Outcome.ERROR,
            now=now,
            request_id=error.request_id,
            status_code=error.status,
            error_code=error.code,
            **(cost or {}),
        )
        _apply(job, decision, error=error, now=now)


def _apply(
    job: Job, decision: backoff.Decision, *, error: UpstreamError, now: datetime
) -> None:
    """Fail the job, or queue it for its retry."""
    if decision.retry_in is None:
        services.advance(
            _claim(job),
            to=JobStatus.FAILED,
            at=now,
            error_code=error.code,
            error_detail=error.message,
        )
        return
    services.advance(
        _claim(job),
        to=JobStatus.QUEUED,
        at=now,
        data={"reason": "retry", "cause": error.code},
        ready=False,
        run_at=now + timedelta(seconds=decision.retry_in),
        attempt=job.attempt if decision.counts else job.attempt - 1,
    )


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


def _claim(job: Job) -> Any:
    return Job.objects.filter(pk=job.pk, lease_token=job.lease_token)


def _alike(job: Job, attempt: Attempt, error: UpstreamError) -> int:
    earlier = Attempt.objects.filter(job=job, error_code=error.code)
    return earlier.exclude(pk=attempt.pk).count()


def _can_retry_suspect(job: Job) -> bool:
    tried = Attempt.objects.filter(job=job, error_code=SUSPECT).exists()
    return not tried and job.attempt < job.max_attempts


def _suspect(message: str, result: TranscriptionResult) -> UpstreamError:
    return UpstreamError(
        message,
        code=SUSPECT,
        failure=backoff.Failure.SUSPECT_RESULT,
        status=200,
        request_id=result.request_id,
    )
