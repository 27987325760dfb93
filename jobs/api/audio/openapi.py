"""OpenAPI description of the audio endpoint."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter

from jobs.rest.openapi import problems

_TYPE = "audio/*"


def _header(name: str, description: str, **more: Any) -> OpenApiParameter:
    return OpenApiParameter(
        name,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description=description,
        **more,
    )


AUDIO: dict[str, Any] = {
    "operation_id": "get_job_audio",
    "responses": {
        (200, _TYPE): OpenApiTypes.BINARY,
        (206, _TYPE): OpenApiTypes.BINARY,
        **problems(404, 410, 416),
    },
    "parameters": [
        _header("Range", "One range of bytes: `bytes=0-65535` or `bytes=65536-`."),
        _header(
            "If-Range",
            "Returns the range only if the `ETag` matches, else the whole file.",
        ),
        _header("Content-Range", "The returned range.", response=[206, 416]),
    ],
    "examples": [
        OpenApiExample(
            name,
            value="(the bytes of the file)",
            media_type=_TYPE,
            response_only=True,
            status_codes=[code],
        )
        for name, code in (("Whole", "200"), ("Part", "206"))
    ],
}
