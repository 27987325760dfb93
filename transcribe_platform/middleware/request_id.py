"""Assign each HTTP request an id and a trace, and bind both to its log lines."""

from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from jobs.telemetry import log_context, tracing

_MAX_LENGTH = 64
# Polled by machines; their traces are of no use.
_UNTRACED = ("/health", "/metrics", "/static/")


class RequestIdMiddleware:
    """Use a valid ``X-Request-Id`` of the caller, else generate an id."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        header = request.headers.get("X-Request-Id", "")
        is_valid = header.isascii() and header.replace("-", "").isalnum()
        request_id = header if is_valid and len(header) <= _MAX_LENGTH else uuid4().hex
        request.META["REQUEST_ID"] = request_id
        log_context.bind(request_id=request_id)
        traceparent = request.headers.get("traceparent", "")
        if request.path.startswith(_UNTRACED):
            tracing.enter(traceparent)
            return self._respond(request, request_id)
        with tracing.served(
            traceparent,
            request.method or "",
            http__request__method=request.method or "",
            request_id=request_id,
        ) as span:
            response = self._respond(request, request_id)
            _set_attributes(span, request, response)
            traceparent = tracing.current_traceparent()
        # Django logs rejected requests after all middleware has returned.
        tracing.enter(traceparent)
        return response

    def _respond(self, request: HttpRequest, request_id: str) -> HttpResponse:
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        return response


def _set_attributes(
    span: tracing.Span, request: HttpRequest, response: HttpResponse
) -> None:
    """Name the span by the route, because paths contain ids and queries secrets."""
    status = response.status_code
    match = request.resolver_match
    if match and match.route:
        span.rename(f"{request.method} /{match.route}")
        span.set(http__route=f"/{match.route}")
    span.set(http__response__status_code=status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))
