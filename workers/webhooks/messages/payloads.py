"""Build the body of a message from event, job and transcript. Pure.

The body is the same at every attempt, so it must not depend on the current time.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder

from jobs.models import Event, Job
from transcripts.models import Transcript


class EventType(StrEnum):
    """The event types, as published in the OpenAPI document."""

    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_EXPIRED = "job.expired"
    BATCH_COMPLETED = "batch.completed"
    BATCH_PROGRESS = "batch.progress"
    PING = "webhook.ping"


# The types an endpoint can subscribe to; a ping goes to one endpoint only.
FILTERABLE = tuple(type_ for type_ in EventType if type_ is not EventType.PING)
API_VERSION = "v1"
# Larger results are omitted: the receiver fetches them from ``result_url``.
MAX_RESULT_BYTES = 256 * 1024


def message_id(event_id: UUID) -> str:
    """Return the ``webhook-id``, the same for every attempt and every endpoint."""
    return f"msg_{event_id.hex}"


def build_body(
    *,
    event: Event,
    job: Job | None,
    transcript: Transcript | None,
    base_url: str,
    inline_result: bool = True,
) -> dict[str, Any]:
    """Return the message of an event as JSON values.

    A thin message (``inline_result`` false) contains only the result's URL.
    """
    return {
        "id": message_id(event.pk),
        "type": event.type,
        "timestamp": format_time(event.created_at),
        "api_version": API_VERSION,
        "data": (
            event.data
            if job is None
            else build_job(
                job,
                transcript=transcript,
                base_url=base_url,
                inline_result=inline_result,
            )
        ),
    }


def build_job(
    job: Job, *, transcript: Transcript | None, base_url: str, inline_result: bool
) -> dict[str, Any]:
    """Return the job's ``data``; omits a result larger than MAX_RESULT_BYTES."""
    data: dict[str, Any] = {
        "id": str(job.pk),
        "object": "job",
        "status": job.status,
        "batch_id": str(job.batch_id) if job.batch_id else None,
        "metadata": job.metadata,
        "duration_seconds": job.duration_seconds,
        "error": (
            {"code": job.error_code, "detail": job.error_detail}
            if job.error_code
            else None
        ),
        "result": None,
        "result_url": None,
    }
    if transcript is not None:
        data["result_url"] = f"{base_url}/v1/transcripts/{job.pk}"
        result = (
            build_result(transcript, options=job.options) if inline_result else None
        )
        if result and len(serialize(result)) > MAX_RESULT_BYTES:
            data["result_omitted"] = "too_large"
        else:
            data["result"] = result
    return data


def build_result(
    transcript: Transcript, *, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the transcript without word timings, which are at ``result_url``.

    ``options`` are those of its job.
    """
    return {
        "text": transcript.text,
        "language": transcript.find_language(options),
        "model": transcript.model or None,
        "confidence": transcript.confidence,
        "duration_seconds": transcript.duration_seconds,
        "channels": transcript.channels,
        "words": transcript.words,
    }


def serialize(value: dict[str, Any]) -> bytes:
    """Return the bytes to sign and send: compact UTF-8 JSON."""
    return json.dumps(
        value, cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":")
    ).encode()


def format_time(at: datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    text = at.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
