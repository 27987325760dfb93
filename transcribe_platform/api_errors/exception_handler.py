"""Turn every error into an HTTP problem: the one place that knows status codes."""

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
from transcribe_platform.api_errors.problems import problem_response
from transcripts import links

# The first class that fits decides, so narrower ones stand first.
STATUSES: tuple[tuple[type[errors.PlatformError], int], ...] = (
    (errors.UnsupportedAudio, 422),
    (errors.InvalidRequest, 400),
    (errors.UploadTooLarge, 413),
    (errors.NotFound, 404),
    (errors.Erased, 410),
    (links.LinkInvalid, 403),
    (links.LinkExpired, 410),
    (errors.Forbidden, 403),
    (errors.Conflict, 409),
    (errors.JobStateError, 409),
    (errors.IdempotencyConflict, 422),
    (errors.RequestInFlight, 409),
    (errors.RangeNotSatisfiable, 416),
    (errors.LimitExceeded, 429),
    (errors.ServiceUnavailable, 503),
    (errors.NotServedHere, 421),
    (errors.UpgradeRequired, 426),
    (errors.UpstreamError, 502),
)
# DRF's names where ours say more.
CODES = {
    "not_authenticated": "key_missing",
    "permission_denied": "forbidden",
    "parse_error": "body_invalid",
    "error": "bad_request",
}


def handle(error: Exception, context: Mapping[str, Any]) -> HttpResponse | None:
    """Turn an error into a problem; None lets Django log it and answer 500 or 503."""
    request = context["request"]._request  # noqa: SLF001  DRF offers no other way
    if isinstance(error, errors.PlatformError):
        return _ours(request, error)
    return _theirs(request, _as_api_exception(error))


def _ours(request: Any, error: errors.PlatformError) -> HttpResponse | None:
    status = next((code for kind, code in STATUSES if isinstance(error, kind)), None)
    if status is None:
        return None
    faults = to_field_errors(error) if isinstance(error, errors.InvalidRequest) else []
    entries = [_entry(fault) for fault in faults]
    response = problem_response(
        request,
        status=status,
        code=error.code,
        detail=error.message,
        errors=entries,
        error_count=error.count if isinstance(error, errors.ValidationErrors) else None,
    )
    if isinstance(error, errors.UpgradeRequired):
        response.headers["Upgrade"] = "websocket"
    if isinstance(error, errors.LimitExceeded) and error.retry_after:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"
    return response


def _as_api_exception(error: Exception) -> Exception:
    """Return DRF's counterpart of an error of Django's."""
    if isinstance(error, RequestDataTooBig):
        too_large = APIException("The form's fields are too large.", "body_too_large")
        too_large.status_code = 413
        return too_large
    if isinstance(error, UnreadablePostError):
        return exceptions.ParseError("The body could not be read.", "body_truncated")
    if isinstance(error, SuspiciousOperation | MultiPartParserError):
        return exceptions.ParseError("The body cannot be read.")
    if isinstance(error, Http404):
        return exceptions.NotFound()
    return (
        exceptions.PermissionDenied() if isinstance(error, PermissionDenied) else error
    )


def _theirs(request: Any, error: Exception) -> HttpResponse | None:
    if not isinstance(error, APIException):
        return None
    if isinstance(error, ValidationError):
        faults = to_field_errors(error)
        entries = [_entry(fault) for fault in faults]
        one = faults[0] if len(faults) == 1 else None
        code = one.code if one else "invalid_request"
        detail = one.detail if one else "Some fields are not as they should be."
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


def _entry(fault: errors.FieldError) -> dict[str, str | int]:
    place = fault.pointer
    if place.startswith("?"):
        where = {"parameter": place[1:]}
    elif place.startswith("/") or not place:
        where = {"pointer": place}
    else:
        where = {"header": place}
    line = {} if fault.line is None else {"line": fault.line}
    return {**line, **where, "code": fault.code, "detail": fault.detail}
