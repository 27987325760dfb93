"""OpenAPI descriptions and examples of event streams."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from jobs.api.event_stream import TYPES
from jobs.api.examples import BATCH_ID, JOB_ID
from jobs.rest import openapi
from workers.api.events.sse import MEDIA_TYPE

_POSITION = "734021-01980a52-7e10-7c44-8f0b-6d1c2b3a4f55"
_HEAD = "retry: 1000\nid: 734018-00000000-0000-0000-0000-000000000000\n\n"
_COMPLETED = (
    f"id: {_POSITION}\nevent: job.completed\n"
    'data: {"id":"msg_01980a527e107c448f0b6d1c2b3a4f55","object":"event",'
    '"type":"job.completed","timestamp":"2026-03-01T09:30:02.101Z",'
    f'"job_id":"{JOB_ID}","batch_id":null,"status":"completed",'
    '"data":{"attempt":1,"region":"us-east-1"}}\n\n'
)
_PROGRESS = (
    f"id: {_POSITION}\nevent: batch.progress\n"
    'data: {"id":"msg_01980a527e107c448f0b6d1c2b3a4f55","object":"event",'
    '"type":"batch.progress","timestamp":"2026-03-01T09:30:02.101Z",'
    f'"job_id":null,"batch_id":"{BATCH_ID}","status":"processing",'
    '"data":{"percent":25,"counts":{"total":4,"open":3,"completed":1}}}\n\n'
)
_SNAPSHOT = 'event: snapshot\ndata: {{"id":"{}","object":"{}",…}}\n\n'
LAST_EVENT_ID = "last_event_id"
PARAMETERS = [
    OpenApiParameter(
        "Last-Event-ID",
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description="The `id` of the last event received, where to continue.",
    ),
    openapi.query_parameter(
        LAST_EVENT_ID,
        description="Same as `Last-Event-ID`, which takes precedence.",
    ),
]
FILTERS = [
    openapi.query_parameter(
        "types", description=f"Comma-separated: {', '.join(TYPES)}."
    ),
    openapi.query_parameter("batch_id", OpenApiTypes.UUID),
]


def _describe(
    operation: str, *statuses: int, example: str, **more: Any
) -> dict[str, Any]:
    answers: dict[Any, Any] = {
        (200, MEDIA_TYPE): OpenApiResponse(OpenApiTypes.STR, "Event stream."),
        **openapi.problems(421, *statuses),
    }
    if statuses:
        message = "The job or batch has ended and no events are left. Do not reconnect."
        answers[204] = OpenApiResponse(description=message)
    return {
        "operation_id": operation,
        "responses": answers,
        "parameters": [*PARAMETERS, *more.get("parameters", ())],
        "examples": [
            OpenApiExample(
                "Stream",
                value=_HEAD + example,
                media_type=MEDIA_TYPE,
                response_only=True,
                status_codes=["200"],
            )
        ],
    }


EVENTS = _describe("stream_events", example=_COMPLETED, parameters=FILTERS)
JOB_EVENTS = _describe(
    "stream_job_events", 404, example=_SNAPSHOT.format(JOB_ID, "job") + _COMPLETED
)
BATCH_EVENTS = _describe(
    "stream_batch_events", 404, example=_SNAPSHOT.format(BATCH_ID, "batch") + _PROGRESS
)
