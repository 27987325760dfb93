"""Convert exceptions into problem responses and choose their HTTP status."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from rest_framework import exceptions
from rest_framework.exceptions import APIException, ValidationError

from jobs import errors
from jobs.rest.field_errors import to_field_errors
from transcribe_platform.api_errors.problem_table import PROBLEMS
from transcribe_platform.api_errors.problems import problem_response

# DRF's codes that the platform replaces.
CODES = {
    "not_authenticated": "key_missing",
    "permission_denied": "forbidden",
    "parse_error": "body_invalid",
    "error": "bad_request",
}


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """Return the problem; None makes Django log the error and return 500 or 503."""
    request = context["request"]._request  # noqa: SLF001  DRF offers no other way
    if isinstance(error, errors.PlatformError):
        return _handle_platform_error(request, error)
    return _handle_api_exception(request, _to_api_exception(error))


def _handle_platform_error(
    request: Any, error: errors.PlatformError
) -> HttpResponse | None:
    status = _choose_status(error)
    if status is None:
        return None
    field_errors = (
        to_field_errors(error) if isinstance(error, errors.InvalidRequest) else []
    )
    response = problem_response(
        request,
        status=status,
        code=error.code,
        detail=error.message,
        errors=[_format_field_error(each) for each in field_errors],
        error_count=error.count if isinstance(error, errors.ValidationErrors) else None,
    )
    if isinstance(error, errors.UpgradeRequired):
        response.headers["Upgrade"] = "websocket"
    if isinstance(error, errors.LimitExceeded) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    return response


def _choose_status(error: errors.PlatformError) -> int | None:
    """Return the status of the error's code.

    Errors of a synchronous call have codes of a job's outcome, which have no status.
    """
    if isinstance(error, errors.UpstreamError):
        return 502
    if isinstance(error, errors.UnsupportedAudio):
        return 422
    kind = PROBLEMS.get(error.code)
    return kind.status if kind else None


def _to_api_exception(error: Exception) -> Exception:
    """Convert an exception of Django into one of DRF."""
    if isinstance(error, RequestDataTooBig):
        too_large = APIException("The form fields are too large.", "body_too_large")
        too_large.status_code = 413
        return too_large
    if isinstance(error, UnreadablePostError):
        return exceptions.ParseError(
            "The body could not be read completely.", "body_truncated"
        )
    if isinstance(error, SuspiciousOperation | MultiPartParserError):
        return exceptions.ParseError("The body cannot be read.")
    if isinstance(error, Http404):
        return exceptions.NotFound()
    return (
        exceptions.PermissionDenied() if isinstance(error, PermissionDenied) else error
    )


def _handle_api_exception(request: Any, error: Exception) -> HttpResponse | None:
    if not isinstance(error, APIException):
        return None
    if isinstance(error, ValidationError):
        field_errors = to_field_errors(error)
        entries = [_format_field_error(each) for each in field_errors]
        only = field_errors[0] if len(field_errors) == 1 else None
        code = only.code if only else "invalid_request"
        detail = only.detail if only else "Several fields are invalid."
    else:
        entries, detail = [], str(error.detail)
        code = str(getattr(error.detail, "code", "error"))
    response = problem_response(
        request,
        status=error.status_code,
        code=CODES.get(code, code),
        detail=detail,
        errors=entries,
    )
    if header := getattr(error, "auth_header", None):
        response.headers["WWW-Authenticate"] = header
    return response


def _format_field_error(error: errors.FieldError) -> dict[str, str | int]:
    pointer = error.pointer
    if pointer.startswith("?"):
        location = {"parameter": pointer[1:]}
    elif pointer.startswith("/") or not pointer:
        location = {"pointer": pointer}
    else:
        location = {"header": pointer}
    line = {} if error.line is None else {"line": error.line}
    return {**line, **location, "code": error.code, "detail": error.detail}
