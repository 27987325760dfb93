"""OpenAPI webhooks: one schema and one example per event type.

``payloads`` builds the examples, so that they match the messages sent. The component
names end in "Told", as generated clients know them.
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiResponse,
    OpenApiWebhook,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers

from jobs.api.jobs.serializers import ErrorOutput
from jobs.batches import statistics as batch_statistics
from jobs.batches.api.serializers import BatchCountsOutput
from jobs.models import Batch, Event, Job
from jobs.rest.serializers import MetadataField
from transcripts.models import Transcript
from workers.webhooks.messages import payloads
from workers.webhooks.messages.payloads import EventType

_AT = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
_IDS = [UUID(f"0199f1c2-7d1a-7c3e-9a55-2f0c6b1d7e9{digit}") for digit in range(4)]


def constant(value: str) -> serializers.CharField:
    """Return a field whose only value is ``value``."""

    @extend_schema_field({"type": "string", "const": value})
    class Constant(serializers.CharField):
        pass

    return Constant()


@extend_schema_field({"type": "null"})
class NullField(serializers.CharField):
    """A field that is always null here; all messages have the same fields."""


@extend_schema_serializer(component_name="ResultTold")
class ResultData(serializers.Serializer[Any]):
    """The transcript without word timings; get these from `result_url`."""

    text = serializers.CharField(allow_blank=True)
    language = serializers.CharField(allow_null=True)
    model = serializers.CharField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    duration_seconds = serializers.FloatField()
    channels = serializers.IntegerField()
    words = serializers.IntegerField()


class JobData(serializers.Serializer[Any]):
    """A finished job."""

    id = serializers.UUIDField()
    object = constant("job")
    status = serializers.CharField()
    batch_id = serializers.UUIDField(allow_null=True)
    metadata = MetadataField()
    duration_seconds = serializers.FloatField(allow_null=True)
    error: serializers.Field[Any, Any, Any, Any] = NullField()
    result: serializers.Field[Any, Any, Any, Any] = NullField()
    result_url: serializers.Field[Any, Any, Any, Any] = NullField()


@extend_schema_serializer(component_name="JobCompletedTold")
class JobCompletedData(JobData):
    """A job completed. Thin messages, and those of large results, omit the result."""

    status = constant("completed")
    result = ResultData(allow_null=True)
    result_url = serializers.URLField()
    result_omitted = serializers.ChoiceField(
        choices=["too_large"],
        required=False,
        help_text="Why `result` is null although the endpoint's payload is `full`.",
    )


@extend_schema_serializer(component_name="JobFailedTold")
class JobFailedData(JobData):
    """A job failed after its last retry."""

    status = constant("failed")
    error = ErrorOutput()


@extend_schema_serializer(component_name="JobCanceledTold")
class JobCanceledData(JobData):
    """A job was canceled."""

    status = constant("canceled")


@extend_schema_serializer(component_name="JobExpiredTold")
class JobExpiredData(JobData):
    """A job's deadline passed before it ran."""

    status = constant("expired")


class BatchData(serializers.Serializer[Any]):
    """A batch with the counts of its jobs by status."""

    id = serializers.UUIDField()
    object = constant("batch")
    status = serializers.CharField()
    counts = BatchCountsOutput()
    percent = serializers.IntegerField(min_value=0, max_value=100)
    skipped = serializers.IntegerField()
    audio_seconds_done = serializers.FloatField()
    cost_estimate = serializers.CharField()
    metadata = MetadataField()
    retry_of = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    finished_at: serializers.Field[Any, Any, Any, Any] = NullField()


@extend_schema_serializer(component_name="BatchCompletedTold")
class BatchCompletedData(BatchData):
    """A batch finished: all its jobs are final."""

    status = constant("completed")
    finished_at = serializers.DateTimeField()


@extend_schema_serializer(component_name="BatchProgressTold")
class BatchProgressData(BatchData):
    """A batch completed another quarter of its jobs."""

    status = constant("processing")


@extend_schema_serializer(component_name="PingTold")
class PingData(serializers.Serializer[Any]):
    """A test message, requested with a ping."""

    id = serializers.UUIDField()
    object = constant("webhook_endpoint")


DATA: dict[EventType, type[serializers.Serializer[Any]]] = {
    EventType.JOB_COMPLETED: JobCompletedData,
    EventType.JOB_FAILED: JobFailedData,
    EventType.JOB_CANCELED: JobCanceledData,
    EventType.JOB_EXPIRED: JobExpiredData,
    EventType.BATCH_COMPLETED: BatchCompletedData,
    EventType.BATCH_PROGRESS: BatchProgressData,
    EventType.PING: PingData,
}
_HEADERS = {
    "webhook-id": "The message ID, the same at every attempt and replay.",
    "webhook-timestamp": "When this attempt was signed, in Unix seconds.",
    "webhook-signature": "`v1,` and the base64 of an HMAC-SHA256 over "
    "`id.timestamp.body`. Space-separated signatures while a secret is rotated.",
}


def build_webhook(type_: EventType) -> OpenApiWebhook:
    """Return the OpenAPI webhook of messages of this type."""
    data = DATA[type_]
    message = type(
        data.__name__.removesuffix("Data") + "Message",
        (serializers.Serializer,),
        {
            "__doc__": data.__doc__,
            "id": serializers.CharField(help_text="The same as the `webhook-id`."),
            "type": constant(type_),
            "timestamp": serializers.DateTimeField(help_text="Time of the event."),
            "api_version": constant(payloads.API_VERSION),
            "data": data(),
        },
    )
    return OpenApiWebhook(
        type_,
        extend_schema(
            operation_id=f"on_{type_.replace('.', '_')}",
            summary=(data.__doc__ or "").splitlines()[0],
            request=message,
            responses={
                "2XX": OpenApiResponse(description="Accepted. The body is ignored."),
                "410": OpenApiResponse(description="Disables the endpoint."),
                "default": OpenApiResponse(description="Retried by the schedule."),
            },
            examples=[OpenApiExample(type_, build_example(type_))],
        ),
    )


def build_example(type_: EventType) -> dict[str, Any]:
    """Return a message of this type."""
    subject, _, status = type_.partition(".")
    event = Event(id=_IDS[0], type=type_, created_at=_AT, data={})
    job = transcript = None
    if subject == "job":
        job = _job(status)
        transcript = _transcript(job) if status == "completed" else None
    elif subject == "batch":
        event.data = batch_statistics.describe(_batch(is_done=status == "completed"))
    else:
        event.data = {"id": str(_IDS[1]), "object": "webhook_endpoint"}
    body = payloads.build_body(
        event=event, job=job, transcript=transcript, base_url="https://api.example.com"
    )
    message: dict[str, Any] = json.loads(payloads.serialise(body))
    return message


def describe_headers(result: dict[str, Any], **_more: Any) -> dict[str, Any]:
    """Add the headers to each webhook, a hook because drf-spectacular omits them."""
    parameters = [
        {
            "name": name,
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
            "description": description,
        }
        for name, description in _HEADERS.items()
    ]
    for webhook in result.get("webhooks", {}).values():
        webhook["post"]["parameters"] = parameters
    return result


def _job(status: str) -> Job:
    failed = {"error_code": "audio_unreadable", "error_detail": "It is no audio."}
    return Job(
        id=_IDS[2],
        batch_id=_IDS[3],
        status=status,
        metadata={"order": "7"},
        duration_seconds=2.5,
        **(failed if status == "failed" else {}),
    )


def _transcript(job: Job) -> Transcript:
    return Transcript(
        job=job,
        text="Hello world.",
        language="en",
        model="general-nova-3",
        confidence=0.98,
        duration_seconds=2.5,
        channels=1,
        words=2,
    )


def _batch(*, is_done: bool) -> Batch:
    return Batch(
        id=_IDS[3],
        total=4,
        completed=3 if is_done else 1,
        failed=1,
        metadata={"month": "11"},
        created_at=_AT,
        finished_at=_AT if is_done else None,
    )


JOB_COMPLETED = build_webhook(EventType.JOB_COMPLETED)
JOB_FAILED = build_webhook(EventType.JOB_FAILED)
JOB_CANCELED = build_webhook(EventType.JOB_CANCELED)
JOB_EXPIRED = build_webhook(EventType.JOB_EXPIRED)
BATCH_COMPLETED = build_webhook(EventType.BATCH_COMPLETED)
BATCH_PROGRESS = build_webhook(EventType.BATCH_PROGRESS)
PING = build_webhook(EventType.PING)
