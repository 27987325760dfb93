"""Give every HTTP request an id and a trace, and bind both to the logs."""

from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from jobs.telemetry import log_context, tracing

_MAX_LENGTH = 64
# Asked for again and again, by machines: nobody looks for their traces.
_UNTRACED = ("/health", "/metrics", "/static/")


class RequestIdMiddleware:
    """Take ``X-Request-Id`` from the caller if it is sane, else make one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        sane = given.isascii() and given.replace("-", "").isalnum()
        request_id = given if sane and len(given) <= _MAX_LENGTH else uuid4().hex
        request.META["REQUEST_ID"] = request_id
        log_context.bind(request_id=request_id)
        traceparent = request.headers.get("traceparent", "")
        if request.path.startswith(_UNTRACED):
            tracing.enter(traceparent)
            return self._answer(request, request_id)
        with tracing.served(
            traceparent,
            request.method or "",
            http__request__method=request.method or "",
            request_id=request_id,
        ) as span:
            response = self._answer(request, request_id)
            _describe(span, request, response)
            traceparent = tracing.current_traceparent()
        # Django has a word to say about a refusal when all middleware is done.
        tracing.enter(traceparent)
        return response

    def _answer(self, request: HttpRequest, request_id: str) -> HttpResponse:
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        return response


def _describe(span: tracing.Span, request: HttpRequest, response: HttpResponse) -> None:
    """Name the span by the route: paths have ids in them, and queries have secrets."""
    status = response.status_code
    found = request.resolver_match
    if found and found.route:
        span.rename(f"{request.method} /{found.route}")
        span.set(http__route=f"/{found.route}")
    span.set(http__response__status_code=status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))
