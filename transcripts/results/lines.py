"""The results and errors of a batch as JSON lines (https://jsonlines.org).

Lines are built as dictionaries, for speed; the serializers only describe them in the
OpenAPI document.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from rest_framework import serializers

from jobs.models import Batch, BatchError, Job
from jobs.rest.serializers import CURRENCY, CurrencyField
from jobs.state import JobStatus
from transcripts.api.serializers import WarningOutput
from transcripts.results import rows

CHUNK_BYTES = 64 * 1024
REJECTED = "rejected"
# The detail of jobs that have no error of their own.
_DEFAULT_DETAILS = {
    JobStatus.FAILED: "The job failed.",
    JobStatus.EXPIRED: "The deadline passed before the job completed.",
    JobStatus.CANCELED: "The job was canceled.",
}


class ResultLine(serializers.Serializer[Any]):
    """A completed job."""

    object = serializers.ChoiceField(choices=["batch_result"])
    line = serializers.IntegerField(allow_null=True)
    job_id = serializers.UUIDField()
    custom_id = serializers.CharField(allow_null=True)
    audio_url = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=[JobStatus.COMPLETED.value])
    transcript_url = serializers.URLField(allow_null=True)
    duration_seconds = serializers.FloatField(allow_null=True)
    language = serializers.CharField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    words = serializers.IntegerField(allow_null=True)
    cost_estimate = serializers.DecimalField(12, 6, allow_null=True)
    currency = CurrencyField()
    attempts = serializers.IntegerField()
    warnings = WarningOutput(many=True)
    metadata = serializers.JSONField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField()
    erased_at = serializers.DateTimeField(allow_null=True)


class ErrorLine(serializers.Serializer[Any]):
    """A rejected line, or a job that ended without a transcript."""

    object = serializers.ChoiceField(choices=["batch_error"])
    line = serializers.IntegerField(allow_null=True)
    pointer = serializers.CharField(allow_null=True)
    excerpt = serializers.CharField(allow_null=True)
    job_id = serializers.UUIDField(allow_null=True)
    custom_id = serializers.CharField(allow_null=True)
    audio_url = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(
        choices=[REJECTED, JobStatus.FAILED, JobStatus.EXPIRED, JobStatus.CANCELED]
    )
    code = serializers.CharField()
    detail = serializers.CharField()
    cost_estimate = serializers.DecimalField(12, 6, allow_null=True)
    currency = CurrencyField()
    attempts = serializers.IntegerField()
    metadata = serializers.DictField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    erased_at = serializers.DateTimeField(allow_null=True)


def write_results(batch: Batch) -> Iterator[bytes]:
    """Yield the lines of completed jobs, in the order of the batch."""
    return write_lines(map(present_result, rows.read_completed(batch)))


def write_errors(batch: Batch) -> Iterator[bytes]:
    """Yield the rejected lines, then the jobs that ended without a transcript."""

    def lines() -> Iterator[dict[str, Any]]:
        yield from map(present_rejected, rows.read_rejected(batch))
        yield from map(present_failed, rows.read_failed(batch))

    return write_lines(lines())


def write_lines(lines: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the encoded lines in chunks."""
    chunk = bytearray()
    for line in lines:
        chunk += encode_line(line)
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


def encode_line(line: dict[str, Any]) -> bytes:
    """Return the object as one line; JSON escapes line breaks."""
    text = json.dumps(line, cls=DjangoJSONEncoder, separators=(",", ":"))
    return text.encode() + b"\n"


def present_result(job: Job) -> dict[str, Any]:
    """Return the line that ``ResultLine`` describes."""
    found = None if job.erased_at else rows.get_transcript(job)
    return {
        "object": "batch_result",
        "line": job.line,
        "job_id": job.pk,
        "custom_id": job.custom_id or None,
        "audio_url": job.audio_url or None,
        "status": job.status,
        "transcript_url": found and f"{settings.BASE_URL}/v1/transcripts/{job.pk}",
        "duration_seconds": job.duration_seconds,
        "language": found and found.find_language(job.options),
        "confidence": found and found.confidence,
        "words": found and found.words,
        "cost_estimate": _format_cost(job),
        "currency": CURRENCY,
        "attempts": job.attempt,
        "warnings": job.warnings,
        "metadata": job.metadata,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "erased_at": job.erased_at,
    }


def present_failed(job: Job) -> dict[str, Any]:
    """Return the ``ErrorLine`` of a job."""
    return {
        "object": "batch_error",
        "line": job.line,
        "pointer": None,
        "excerpt": None,
        "job_id": job.pk,
        "custom_id": job.custom_id or None,
        "audio_url": job.audio_url or None,
        "status": job.status,
        "code": job.error_code or f"job_{job.status}",
        "detail": job.error_detail or _DEFAULT_DETAILS[JobStatus(job.status)],
        "cost_estimate": _format_cost(job),
        "currency": CURRENCY,
        "attempts": job.attempt,
        "metadata": job.metadata,
        "finished_at": job.finished_at,
        "erased_at": job.erased_at,
    }


def present_rejected(error: BatchError) -> dict[str, Any]:
    """Return the ``ErrorLine`` of a rejected line."""
    return {
        "object": "batch_error",
        "line": error.line,
        "pointer": error.pointer or None,
        "excerpt": error.excerpt or None,
        "job_id": None,
        "custom_id": None,
        "audio_url": None,
        "status": REJECTED,
        "code": error.code,
        "detail": error.detail,
        "cost_estimate": None,
        "currency": CURRENCY,
        "attempts": 0,
        "metadata": None,
        "finished_at": None,
        "erased_at": None,
    }


def _format_cost(job: Job) -> str | None:
    cost = rows.get_cost(job)
    return None if cost is None else f"{cost:.6f}"
