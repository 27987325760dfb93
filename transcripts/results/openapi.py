"""OpenAPI descriptions of the batch results endpoints."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from jobs.api.examples import JOB_ID, RETRY_ID
from jobs.rest.openapi import examples, problems, query_parameter
from transcripts.formats import FORMATS
from transcripts.results.lines import ErrorLine, ResultLine

LINES = "application/x-ndjson"
OTHER_LINES = "application/jsonl"
ZIP = "application/zip"

_RESULT: dict[str, Any] = {
    "object": "batch_result",
    "line": 1,
    "job_id": JOB_ID,
    "custom_id": "call-4711",
    "audio_url": "https://audio.example.com/calls/4711.wav",
    "status": "completed",
    "transcript_url": f"https://transcribe.example/v1/transcripts/{JOB_ID}",
    "duration_seconds": 12.4,
    "language": "en",
    "confidence": 0.98,
    "words": 31,
    "cost_estimate": "0.000889",
    "attempts": 1,
    "warnings": [],
    "metadata": {"order": "4711"},
    "created_at": "2026-03-01T09:30:00.412000Z",
    "finished_at": "2026-03-01T09:30:02.101000Z",
    "erased_at": None,
}
_ERROR: dict[str, Any] = {
    "object": "batch_error",
    "line": 2,
    "pointer": None,
    "excerpt": None,
    "job_id": RETRY_ID,
    "custom_id": "call-4712",
    "audio_url": "https://audio.example.com/calls/4712.wav",
    "status": "failed",
    "code": "audio_url_refused",
    "detail": "The remote server hosting the media returned a client error.",
    "cost_estimate": None,
    "attempts": 1,
    "metadata": {"order": "4712"},
    "finished_at": "2026-03-01T09:30:03.007000Z",
    "erased_at": None,
}


def _describe(operation: str, line: Any, example: dict[str, Any]) -> dict[str, Any]:
    response = OpenApiResponse(line, "One JSON object per line.")
    return {
        "operation_id": operation,
        "responses": {
            (200, LINES): response,
            (200, OTHER_LINES): response,
            **problems(404, 409),
        },
        "examples": examples(
            answers={(200, LINES): example, (200, OTHER_LINES): example}
        ),
    }


RESULTS = _describe("list_batch_results", ResultLine, _RESULT)
ERRORS = _describe("list_batch_errors", ErrorLine, _ERROR)
ARCHIVE: dict[str, Any] = {
    "operation_id": "download_batch_transcripts",
    "parameters": [
        query_parameter(
            "format",
            enum=list(FORMATS),
            default="json",
            description="Format of each file.",
        )
    ],
    "responses": {(200, ZIP): OpenApiTypes.BINARY, **problems(404, 409)},
    "examples": [
        OpenApiExample(
            "Archive",
            value="(bytes)",
            media_type=ZIP,
            response_only=True,
            status_codes=["200"],
        )
    ],
}
