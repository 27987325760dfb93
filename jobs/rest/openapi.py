"""Building blocks of the OpenAPI document that all endpoints share."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from jobs.rest.idempotency import HEADER
from jobs.rest.pagination import DEFAULT_LIMIT, MAX_LIMIT

JSON_TYPE = "application/json"
FORM_TYPE = "multipart/form-data"
PROBLEM_TYPE = "application/problem+json"


class ProblemEntry(serializers.Serializer[Any]):
    """One error in the request and its location."""

    line = serializers.IntegerField(required=False)
    pointer = serializers.CharField(required=False)
    parameter = serializers.CharField(required=False)
    header = serializers.CharField(required=False)
    code = serializers.CharField()
    detail = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """An error (RFC 9457). ``code`` is stable; ``title`` and ``detail`` may change."""

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
    """Return the error responses of a route: these statuses and the common ones."""
    response = OpenApiResponse(Problem, "The error.")
    all_statuses = sorted({400, 401, 403, 406, 429, 503, *statuses})
    return {(status, PROBLEM_TYPE): response for status in all_statuses}


def query_parameter(
    name: str, type_: Any = OpenApiTypes.STR, **more: Any
) -> OpenApiParameter:
    """Return a query parameter."""
    return OpenApiParameter(name, type_, OpenApiParameter.QUERY, **more)


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
CURSOR = "AZgKUnweejydVQtvby-OEcsvQ5YTvHV0"


def examples(
    *,
    sent: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
    raw: Mapping[str, str] | None = None,
    answers: Mapping[int | tuple[int, str], Any],
) -> list[OpenApiExample]:
    """Return an operation's ``examples``: request bodies, and one response per status.

    ``raw`` maps media types to request bodies. A key of ``answers`` is a status, or a
    status and a media type; the default is JSON.
    """
    found = [
        OpenApiExample(name, value, request_only=True, media_type=media_type)
        for name, value, media_type in (
            ("Request", sent, JSON_TYPE),
            ("Form", form, FORM_TYPE),
            *(("Body", text, raw_type) for raw_type, text in (raw or {}).items()),
        )
        if value is not None
    ]
    for key, value in answers.items():
        status, media_type = key if isinstance(key, tuple) else (key, JSON_TYPE)
        found.append(
            OpenApiExample(
                "Response",
                value,
                response_only=True,
                status_codes=[str(status)],
                media_type=media_type,
            )
        )
    return found


def page_of(
    row: Mapping[str, Any], *, next_cursor: str | None = None
) -> dict[str, Any]:
    """Return a list response with this one row."""
    has_more = next_cursor is not None
    return {"data": [row], "has_more": has_more, "next_cursor": next_cursor}
