"""OpenAPI webhooks: one schema and one example per event type.

A test compares the messages sent with the schemas. The component
names end in "Told", as generated clients know them.
"""

from typing import Any

from drf_spectacular.utils import (
    OpenApiResponse,
    OpenApiWebhook,
    extend_schema,
    extend_schema_field,
    extend_schema_serializer,
)
from rest_framework import serializers

from jobs.api.jobs.serializers import ErrorOutput
from jobs.batches.api.serializers import BatchCountsOutput
from jobs.batches.statistics import BatchOutcome
from jobs.rest.openapi import read_examples
from jobs.rest.serializers import CURRENCY, MetadataField
from workers.webhooks.messages import payloads
from workers.webhooks.messages.payloads import EventType


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
    outcome: serializers.Field[Any, Any, Any, Any] = NullField()
    counts = BatchCountsOutput()
    percent = serializers.IntegerField(min_value=0, max_value=100)
    skipped = serializers.IntegerField()
    audio_seconds_done = serializers.FloatField()
    cost_estimate = serializers.CharField()
    currency = constant(CURRENCY)
    metadata = MetadataField()
    retry_of = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    finished_at: serializers.Field[Any, Any, Any, Any] = NullField()


@extend_schema_serializer(component_name="BatchCompletedTold")
class BatchCompletedData(BatchData):
    """A batch finished: all its jobs are final."""

    status = constant("completed")
    outcome = serializers.ChoiceField(choices=list(BatchOutcome))
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
            examples=read_examples(__file__, type_),
        ),
    )


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
        webhook["post"]["security"] = []  # a signature instead
    return result


JOB_COMPLETED = build_webhook(EventType.JOB_COMPLETED)
JOB_FAILED = build_webhook(EventType.JOB_FAILED)
JOB_CANCELED = build_webhook(EventType.JOB_CANCELED)
JOB_EXPIRED = build_webhook(EventType.JOB_EXPIRED)
BATCH_COMPLETED = build_webhook(EventType.BATCH_COMPLETED)
BATCH_PROGRESS = build_webhook(EventType.BATCH_PROGRESS)
PING = build_webhook(EventType.PING)
