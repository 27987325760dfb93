"""The use case: transcribe this job. One engine behind every door.

Start (fenced, attempt opened), call (no database connection held), finish (one
transaction). Nothing here knows Celery, HTTP or a vendor.
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
    """Whoever runs a call and keeps its lease and permit alive meanwhile."""

    name: str

    def hold(self, job: Job) -> AbstractContextManager[None]:
        """Keep what the claim holds alive for the time of the block."""


def transcribe_job(
    *,
    job_id: UUID,
    lease_token: int,
    holder: ClaimHolder,
    backend: TranscriptionBackend,
) -> bool:
    """Run one claim to its end; return False when the claim was stale.

    Whatever the call does, the attempt is closed and the job moved in one commit,
    tried again until it holds or the grace for a paid result ends.
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
    """Make the call that was begun and commit what comes of it."""
    facts: dict[str, tracing.Value] = {
        "transcription__job_id": str(job.pk),
        "transcription__claim": job.lease_token,
        "transcription__attempt": job.attempt,
        "transcription__mode": job.mode,
    }
    with (
        log_context.adding(**log_context.fields_of(job)),
        tracing.joined(job.traceparent),
        tracing.span("transcribe", kind=tracing.SpanRole.CONSUMER, **facts),
        holder.hold(job),
    ):
        _call(job, attempt, backend=backend)


def _call(job: Job, attempt: Attempt, *, backend: TranscriptionBackend) -> None:
    request = build_request(job, attempt)
    # The call may take minutes: give the connection back to the pool.
    if not connection.in_atomic_block:
        connection.close()
    try:
        result = _ask(backend, request)
        summary = documents.parse_summary(result.document)
        if summary is None:
            raise _suspect("The upstream's answer is not a transcript.", result)
    except UpstreamError as error:
        failure = error
        with tracing.span("store"):
            storage.commit_with_retries(
                lambda now: fail(job, attempt, error=failure, now=now)
            )
        return
    raws: list[str] = []

    def commit(now: datetime) -> None:
        if not raws:  # stored once, however often the commit is tried
            raws.append(storage.store_raw(job, attempt, result.raw))
        finish(job, attempt, result=result, summary=summary, raw=raws[0], now=now)

    with tracing.span("store"):
        storage.commit_with_retries(commit)


def _ask(
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
    """Say what to call for a claimed job; an upload is opened only by the call."""
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
        tags=tags_of(job),
        deadline_seconds=_time_for(job),
    )


def tags_of(job: Job) -> tuple[str, ...]:
    """Return what names this claim's call in the upstream's own log of requests."""
    tags = (f"job:{job.pk}", f"claim:{job.lease_token}")
    trace_id = tracing.trace_id_of(job.traceparent)
    return (*tags, f"trace:{trace_id}") if trace_id else tags


def _time_for(job: Job) -> float:
    """Return how long the call may take: nobody wants it after the job's deadline."""
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
    """Commit a result: transcript, attempt, status and event together.

    A suspect result gets one more call, then stands with its warnings. A stale claim
    closes its attempt (it was paid for) and leaves no transcript; one whose lease ran
    out is not stale before somebody else has claimed the job.
    """
    warnings = documents.find_warnings(
        summary,
        expected_seconds=job.duration_seconds,
        expected_channels=job.channels if job.options.get("multichannel") else None,
        is_silent=job.is_silent,
    )
    suspect = [each for each in warnings if each["code"] in documents.SUSPECT]
    if suspect and _may_try_again(job):
        error = _suspect(suspect[0]["detail"], result)
        default_storage.delete(raw)
        fail(job, attempt, error=error, now=now, spent=_spent_on(job, summary))
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
    """Delete a document that no transcript names.

    A commit that seemed to fail may have held: then it is in use.
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
    """Move the job to its good end and write its transcript; false for a stale claim.

    To be called in the transaction that closes its call.
    """
    moved = services.advance(
        _claim(job),
        to=JobStatus.COMPLETED,
        at=now,
        warnings=warnings,
        duration_seconds=job.duration_seconds or summary.duration_seconds,
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
    """Close the attempt with what it cost; false if an earlier commit had held."""
    return services.close_attempt(
        attempt,
        outcome=Attempt.Outcome.OK,
        now=now,
        request_id=result.request_id,
        status_code=200,
        **_spent_on(job, summary),
    )


def _spent_on(job: Job, summary: documents.Summary) -> dict[str, Any]:
    """Return what the upstream bills for an answer, whatever it is worth to us."""
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
    spent: Mapping[str, Any] | None = None,
) -> None:
    """Commit a failed call: the attempt, and the job's next try or its end.

    ``spent`` is what was billed all the same.
    """
    decision = backoff.next_try(
        error,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        alike=_alike(job, attempt, error),
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
            **(spent or {}),
        )
        _follow(job, decision, error=error, now=now)


def _follow(
    job: Job, decision: backoff.Decision, *, error: UpstreamError, now: datetime
) -> None:
    """Fail the job for good, or queue it for its next try."""
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
    """Return a link that opens the transcript without a key, and when it ends.

    Who made it is recorded, the link itself nowhere.
    """
    job = transcript.job
    url, ends_at = links.build_link(
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
        expires_at=ends_at,
    )
    return url, ends_at


def build_format(transcript: Transcript, chosen: Format) -> bytes:
    """Return the transcript in one of its forms."""
    return chosen.build(FormatSource(transcript, storage.read_raw(transcript)))


def _claim(job: Job) -> Any:
    return Job.objects.filter(pk=job.pk, lease_token=job.lease_token)


def _alike(job: Job, attempt: Attempt, error: UpstreamError) -> int:
    earlier = Attempt.objects.filter(job=job, error_code=error.code)
    return earlier.exclude(pk=attempt.pk).count()


def _may_try_again(job: Job) -> bool:
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
