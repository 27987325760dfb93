"""OpenAPI descriptions of the jobs endpoints."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from jobs.api.examples import (
    ATTEMPT,
    CANCELED,
    COMPLETED_JOB,
    DETAIL_JOB,
    JOB,
    RETRIED,
    SUBMISSION,
    SUBMISSION_FORM,
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
from jobs.models import Mode
from jobs.rest import preferences
from jobs.rest.openapi import (
    ACCEPTED_HEADERS,
    CURSOR,
    IDEMPOTENCY_PARAMETER,
    PAGE_PARAMETERS,
    examples,
    page_of,
    problems,
    query_parameter,
)
from jobs.state import JobStatus

_FINISHED_HEADERS = [
    OpenApiParameter(
        preferences.HEADER,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description="`wait=1` to `wait=60`: respond when the job ends, or after these"
        " seconds. `respond-async`: respond immediately.",
    ),
    OpenApiParameter(
        preferences.APPLIED,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        response=[201, 202],
        description="The preference that was applied.",
    ),
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
        query_parameter("custom_id", description="Your id of the job in its batch."),
        query_parameter("mode", enum=list(Mode)),
        query_parameter("region", description="The region that ran it last."),
        query_parameter("error_code", description="Why it failed."),
        query_parameter("priority", enum=PRIORITIES),
        query_parameter("created_after", OpenApiTypes.DATETIME),
        query_parameter("created_before", OpenApiTypes.DATETIME),
        query_parameter("metadata.{key}", description="Only jobs with this value."),
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
