"""Give every HTTP request an id, echo it, and bind it to the logs."""

from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from transcribe_platform.logs import bind_log_context

_MAX_LENGTH = 64


class RequestIdMiddleware:
    """Take ``X-Request-Id`` from the caller if it is sane, else make one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        sane = given.isascii() and given.replace("-", "").isalnum()
        request_id = given if sane and len(given) <= _MAX_LENGTH else uuid4().hex
        request.META["REQUEST_ID"] = request_id
        bind_log_context(request_id=request_id)
        response = self.get_response(request)
        response.headers["X-Request-Id"] = request_id
        return response
