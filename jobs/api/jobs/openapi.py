"""What the OpenAPI document says of the jobs API beyond what the code shows."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from jobs.api.examples import (
    ATTEMPT,
    CANCELED,
    COMPLETED_JOB,
    CURSOR,
    DETAIL_JOB,
    JOB,
    ME_ANSWER,
    RETRIED,
    SUBMISSION,
    SUBMISSION_FORM,
    examples,
    page_of,
)
from jobs.api.jobs.serializers import (
    PRIORITIES,
    AttemptPage,
    ErasureOutput,
    JobDetailOutput,
    JobInput,
    JobOutput,
    JobPage,
)
from jobs.api.keys.serializers import MeOutput
from jobs.rest import preferences
from jobs.rest.idempotency import HEADER
from jobs.rest.pagination import DEFAULT_LIMIT, MAX_LIMIT
from jobs.state import JobStatus

PROBLEM_TYPE = "application/problem+json"


class ProblemEntry(serializers.Serializer[Any]):
    """One thing that is wrong, and where."""

    line = serializers.IntegerField(required=False)
    pointer = serializers.CharField(required=False)
    parameter = serializers.CharField(required=False)
    header = serializers.CharField(required=False)
    code = serializers.CharField()
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """Any error (RFC 9457); ``code`` is stable, texts are for people."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    code = serializers.CharField()
    request_id = serializers.CharField()
    trace_id = serializers.CharField()
    errors = ProblemEntry(many=True, required=False)  # type: ignore[assignment]
    error_count = serializers.IntegerField(required=False)


def problems(*statuses: int) -> dict[tuple[int, str], Any]:
    """Return the error answers of a route: these, and the ones any route has."""
    response = OpenApiResponse(Problem, "The problem.")
    every = sorted({400, 401, 403, 406, 429, 503, *statuses})
    return {(status, PROBLEM_TYPE): response for status in every}


def query_parameter(
    name: str, kind: Any = OpenApiTypes.STR, **more: Any
) -> OpenApiParameter:
    """Return a parameter of the query string."""
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, **more)


PAGE_PARAMETERS = [
    query_parameter("cursor", description="`next_cursor` of the previous page."),
    query_parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
        default=DEFAULT_LIMIT,
    ),
]
IDEMPOTENCY_PARAMETER = OpenApiParameter(
    HEADER,
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="1 to 255 visible ASCII characters. Repeats return the first response.",
)
_FINISHED_HEADERS = [
    OpenApiParameter(
        preferences.HEADER,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description="`wait=1` to `wait=60`: respond when the job has ended, or after this"
        " number of seconds. `respond-async`: respond immediately.",
    ),
    OpenApiParameter(
        preferences.APPLIED,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        response=[201, 202],
        description="The preference that was applied.",
    ),
]
ACCEPTED_HEADERS = [
    OpenApiParameter(
        name,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        response=[202],
        description=description,
    )
    for name, description in (
        ("Location", "The URL of the new resource."),
        ("Retry-After", "Seconds to wait before reading it."),
        ("Idempotency-Replayed", "`true` if this repeats an earlier response."),
    )
]

SUBMIT: dict[str, Any] = {
    "operation_id": "submit_job",
    "request": {"application/json": JobInput, "multipart/form-data": JobInput},
    "responses": {
        (201, "application/json"): JobOutput,
        (202, "application/json"): JobOutput,
        **problems(409, 410, 411, 413, 415, 422),
    },
    "parameters": [IDEMPOTENCY_PARAMETER, *ACCEPTED_HEADERS, *_FINISHED_HEADERS],
    "examples": examples(
        sent=SUBMISSION, form=SUBMISSION_FORM, answers={201: COMPLETED_JOB, 202: JOB}
    ),
}
LIST: dict[str, Any] = {
    "operation_id": "list_jobs",
    "responses": {(200, "application/json"): JobPage, **problems()},
    "parameters": [
        *PAGE_PARAMETERS,
        query_parameter("status", enum=list(JobStatus)),
        query_parameter("batch_id", OpenApiTypes.UUID),
        query_parameter("priority", enum=PRIORITIES),
        query_parameter("created_after", OpenApiTypes.DATETIME),
        query_parameter("created_before", OpenApiTypes.DATETIME),
        query_parameter("metadata.{key}", description="Jobs with this metadata value."),
    ],
    "examples": examples(answers={200: page_of(JOB, next_cursor=CURSOR)}),
}
DETAIL: dict[str, Any] = {
    "operation_id": "get_job",
    "responses": {(200, "application/json"): JobDetailOutput, **problems(404)},
    "examples": examples(answers={200: DETAIL_JOB}),
}
ERASE: dict[str, Any] = {
    "operation_id": "erase_job",
    "request": None,
    "responses": {(200, "application/json"): ErasureOutput, **problems(404, 409)},
    "examples": [
        OpenApiExample(
            "A completed upload",
            value={
                "job_id": "01936b1e-7f00-7000-8000-000000000000",
                "object": "erasure",
                "erased_at": "2026-11-22T12:00:00Z",
                "erased": {
                    "audio": 1,
                    "batches": 0,
                    "events": 0,
                    "idempotency_answers": 1,
                    "transcripts": 1,
                    "raw_documents": 1,
                    "webhook_bodies": 0,
                    "webhook_responses": 1,
                    "webhooks_discarded": 0,
                },
            },
            response_only=True,
            status_codes=["200"],
        )
    ],
}
ATTEMPTS: dict[str, Any] = {
    "operation_id": "list_attempts",
    "responses": {(200, "application/json"): AttemptPage, **problems(404)},
    "examples": examples(answers={200: {"data": [ATTEMPT]}}),
}
CANCEL: dict[str, Any] = {
    "operation_id": "cancel_job",
    "request": None,
    "responses": {(200, "application/json"): JobOutput, **problems(404, 409)},
    "examples": examples(answers={200: CANCELED}),
}
RETRY: dict[str, Any] = {
    "operation_id": "retry_job",
    "request": None,
    "responses": {
        (202, "application/json"): JobOutput,
        **problems(404, 409, 410, 422),
    },
    "parameters": [IDEMPOTENCY_PARAMETER, *ACCEPTED_HEADERS],
    "examples": examples(answers={202: RETRIED}),
}
ME: dict[str, Any] = {
    "operation_id": "get_me",
    "responses": {(200, "application/json"): MeOutput, **problems()},
    "examples": examples(answers={200: ME_ANSWER}),
}
