"""Build RFC 9457 problem responses, and replace Django's own error views by them."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import csrf, defaults
from django.views.decorators.csrf import csrf_exempt

from jobs.errors import ServiceUnavailable
from jobs.telemetry import log_context, tracing
from transcribe_platform.api_errors.problem_table import get_title

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = {
    "service_unavailable": 5,
    "event_streams_full": 5,
    "live_sessions_full": 5,
    "result_not_ready": 2,
    "request_in_flight": 1,
}
UNAVAILABLE = (OperationalError, InterfaceError, ServiceUnavailable)
READ_ONLY = "25006"  # read_only_sql_transaction
_HTML_ROOT = "/admin/"
_SAFE = ("GET", "HEAD")


def problem_response(
    request: HttpRequest,
    *,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[Mapping[str, str | int]] = (),
    error_count: int | None = None,
) -> HttpResponse:
    """Build a problem response; ``code`` is stable, ``detail`` is a sentence.

    An endpoint of another API gets an error in that API's format.
    """
    problem: dict[str, Any] = {
        "type": f"{settings.BASE_URL}/problems/{code}",
        "title": get_title(code),
        "status": status,
        "detail": detail,
        "instance": request.path,
        "code": code,
        "request_id": request.META.get("REQUEST_ID", ""),
        "trace_id": _trace_id_of(request),
    }
    if errors:
        problem["errors"] = list(errors)
    if error_count is not None:
        problem["error_count"] = error_count
    # Django logs the response after all middleware has returned.
    log_context.add(problem_code=code)
    response = HttpResponse(json.dumps(problem), status=status)
    response.headers["Content-Type"] = CONTENT_TYPE
    if code in RETRY_SECONDS:
        response.headers["Retry-After"] = str(RETRY_SECONDS[code])
    return _translate(request, response)


def _translate(request: HttpRequest, problem: HttpResponse) -> HttpResponse:
    """Return the error in the format of the view's API: Deepgram's and OpenAI's."""
    view = getattr(request.resolver_match, "func", None)
    translate = getattr(getattr(view, "view_class", None), "translate", None)
    response: HttpResponse = translate(problem) if translate else problem
    return response


def _trace_id_of(request: HttpRequest) -> str:
    """Return the trace id; before RequestIdMiddleware only the header has one."""
    header = request.headers.get("traceparent", "")
    return (
        tracing.current() or tracing.parse(header) or tracing.build_context()
    ).trace_id


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Handle requests that Django rejects before the view."""
    if request.path.startswith(_HTML_ROOT):
        return defaults.bad_request(request, exception)
    status, code = 400, "bad_request"
    if isinstance(exception, RequestDataTooBig):
        status, code = 413, "body_too_large"
    detail = "The request is not readable."
    return problem_response(request, status=status, code=code, detail=detail)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Handle PermissionDenied."""
    if request.path.startswith(_HTML_ROOT):
        return defaults.permission_denied(request, exception)
    detail = "The request is not permitted."
    return problem_response(request, status=403, code="forbidden", detail=detail)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Handle a form without a valid CSRF token."""
    if request.path.startswith(_HTML_ROOT):
        return csrf.csrf_failure(request, reason=reason)
    return permission_denied(request, PermissionDenied())


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Handle an unknown URL."""
    if request.path.startswith(_HTML_ROOT):
        return defaults.page_not_found(request, exception)
    detail = "No resource has this URL."
    return problem_response(request, status=404, code="not_found", detail=detail)


def server_error(request: HttpRequest) -> HttpResponse:
    """Handle an unexpected error without revealing it."""
    if _is_unavailable(sys.exception()):
        status, code = 503, "service_unavailable"
        detail = "The platform cannot process the request now. Retry shortly."
        return problem_response(request, status=status, code=code, detail=detail)
    if request.path.startswith(_HTML_ROOT):
        return defaults.server_error(request)
    detail = "An error on the server. Contact support and quote the request_id."
    return problem_response(request, status=500, code="server_error", detail=detail)


def _is_unavailable(error: BaseException | None) -> bool:
    """Return whether a later request may succeed, also on a read-only database.

    Django raises InternalError for it; psycopg's error has the SQLSTATE.
    """
    sqlstate = getattr(error.__cause__, "sqlstate", "") if error else ""
    is_read_only = isinstance(error, InternalError) and sqlstate == READ_ONLY
    return is_read_only or isinstance(error, UNAVAILABLE)


def read_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate a function view to return 405 for methods other than GET and HEAD."""

    @csrf_exempt
    @wraps(view)
    def wrapper(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if request.method in _SAFE:
            return view(request, **kwargs)
        detail = f'Method "{request.method}" not allowed.'
        response = problem_response(
            request, status=405, code="method_not_allowed", detail=detail
        )
        response.headers["Allow"] = ", ".join(_SAFE)
        return response

    return wrapper
