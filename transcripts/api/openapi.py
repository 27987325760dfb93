"""OpenAPI descriptions of the transcript endpoints."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample

from jobs.rest.openapi import problems, query_parameter
from transcripts.api.examples import EXAMPLES
from transcripts.api.serializers import LinkInput, LinkOutput, TranscriptOutput
from transcripts.formats import FORMATS

JSON = "application/json"

TRANSCRIPT: dict[str, Any] = {
    "operation_id": "get_transcript",
    "auth": [{"ApiKey": []}, {}],  # a link needs no key
    "parameters": [
        query_parameter("format", enum=list(FORMATS)),
        query_parameter("expires", description="Expiry of a link."),
        query_parameter("signature", description="Signature of a link."),
    ],
    "responses": {
        **{(200, it.media_type): OpenApiTypes.STR for it in FORMATS.values()},
        (200, JSON): TranscriptOutput,
        (200, FORMATS["raw"].media_type): OpenApiTypes.OBJECT,
        **problems(404, 409, 410),
    },
    "examples": EXAMPLES,
}
MAKE_LINK: dict[str, Any] = {
    "operation_id": "create_transcript_link",
    "request": {JSON: LinkInput},
    "responses": {(201, JSON): LinkOutput, **problems(404, 409, 410, 413, 415)},
    "examples": [
        OpenApiExample(
            "The words, for a day",
            value={"expires_in_seconds": 86400, "format": "text"},
            request_only=True,
        ),
        OpenApiExample(
            "Made",
            value={
                "url": "https://transcribe.example/v1/transcripts/"
                "01936b1e-7f00-7000-8000-000000000000"
                "?format=text&expires=1764160000&signature=6f0c…",
                "expires_at": "2026-11-26T12:26:40Z",
            },
            response_only=True,
            status_codes=["201"],
        ),
    ],
}
