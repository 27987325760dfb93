"""The OpenAPI document of the whole API, at one address, without a key."""

import json
from functools import cache
from threading import Lock
from typing import Any

from django.http import HttpRequest, HttpResponse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator

from transcribe_platform.api_errors.problems import read_only


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Say in the document how to authenticate."""

    target_class = "jobs.accounts.authentication.ApiKeyAuthentication"
    name = "ApiKey"
    match_subclasses = True

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        """Return the security scheme object."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "tp_live_…"}


_making = Lock()


@read_only
def openapi(_request: HttpRequest) -> HttpResponse:
    """Answer with the document as JSON."""
    return HttpResponse(_encoded(), content_type="application/vnd.oai.openapi+json")


def get_document() -> dict[str, Any]:
    """Return the document, made once a process.

    By one thread at a time: drf-spectacular finds its extensions while it makes the
    first one, and two threads would get in each other's way.
    """
    with _making:
        return _make()


@cache
def _make() -> dict[str, Any]:
    made: Any = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    document: dict[str, Any] = made
    return document


@cache
def _encoded() -> bytes:
    return json.dumps(get_document(), ensure_ascii=False).encode()
