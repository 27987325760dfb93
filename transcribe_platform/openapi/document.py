"""Serve the OpenAPI document of the API without a key."""

import gzip
import json
from functools import cache
from threading import Lock
from typing import Any

from django.http import HttpRequest, HttpResponse
from drf_spectacular.generators import SchemaGenerator

from transcribe_platform.api_errors.problems import read_only
from transcribe_platform.openapi import extensions  # noqa: F401  registered by import

_lock = Lock()


@read_only
def openapi(request: HttpRequest) -> HttpResponse:
    """Return the document as JSON, compressed for clients that accept gzip."""
    is_packed = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(
        _compress() if is_packed else _encode(),
        content_type="application/vnd.oai.openapi+json",
    )
    response.headers["Vary"] = "Accept-Encoding"
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    return response


def get_document() -> dict[str, Any]:
    """Return the document, generated once per process.

    The lock is necessary because drf-spectacular registers its extensions during the
    first generation, which is not thread-safe.
    """
    with _lock:
        return _generate()


@cache
def _generate() -> dict[str, Any]:
    schema: Any = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    document: dict[str, Any] = schema
    return document


@cache
def _encode() -> bytes:
    return json.dumps(get_document(), ensure_ascii=False).encode()


@cache
def _compress() -> bytes:
    return gzip.compress(_encode(), mtime=0)
