"""OpenAPI description of the search endpoint."""

from typing import Any

from drf_spectacular.types import OpenApiTypes

from jobs.api.examples import BATCH_ID, JOB_ID
from jobs.models import Mode
from jobs.rest.openapi import (
    PAGE_PARAMETERS,
    examples,
    page_of,
    problems,
    query_parameter,
)
from transcripts.search.api.serializers import HitPage
from transcripts.search.query_language import MAX_LENGTH

_HIT: dict[str, Any] = {
    "job_id": JOB_ID,
    "object": "transcript_hit",
    "rank": 0.0608,
    "snippets": [
        {
            "start_seconds": 42.18,
            "parts": [
                {"text": "I still want my ", "is_match": False, "start_seconds": None},
                {"text": "refund", "is_match": True, "start_seconds": 42.18},
                {"text": ", please.", "is_match": False, "start_seconds": None},
            ],
        }
    ],
    "language": "en",
    "confidence": 0.98,
    "duration_seconds": 184.2,
    "words": 471,
    "mode": "async",
    "batch_id": BATCH_ID,
    "custom_id": None,
    "filename": "4711.wav",
    "metadata": {"order": "4711"},
    "created_at": "2026-03-01T09:30:02.101000Z",
    "transcript_url": f"https://transcribe.example/v1/transcripts/{JOB_ID}",
}
SEARCH: dict[str, Any] = {
    "operation_id": "search_transcripts",
    "responses": {(200, "application/json"): HitPage, **problems()},
    "parameters": [
        query_parameter(
            "q",
            {"type": "string", "maxLength": MAX_LENGTH},
            description='Search query: words, `"phrases"`, `-exclusions`, `OR`,'
            " `prefix*`.",
        ),
        *PAGE_PARAMETERS,
        query_parameter("batch_id", OpenApiTypes.UUID),
        query_parameter("mode", enum=list(Mode)),
        query_parameter(
            "language", description="`en` matches all English, `en-GB` only itself."
        ),
        query_parameter("created_after", OpenApiTypes.DATETIME),
        query_parameter("created_before", OpenApiTypes.DATETIME),
        query_parameter(
            "min_confidence", {"type": "number", "minimum": 0, "maximum": 1}
        ),
        query_parameter(
            "metadata.{key}",
            description="Only transcripts of jobs with this metadata value.",
        ),
    ],
    "examples": examples(answers={200: {**page_of(_HIT), "is_capped": False}}),
}
