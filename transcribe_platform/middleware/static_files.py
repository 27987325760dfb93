"""Serve static files, and set the Content-Security-Policy of each response.

WhiteNoise finds the files. Its responses stream, which makes Django log a warning over
ASGI. The files are small, so they are read into memory here.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

_NO_FRAMES = "base-uri 'none'; frame-ancestors 'none'"
# /docs and /problems have no scripts, forms or external files.
POLICY = f"default-src 'none'; style-src 'self'; img-src 'self'; {_NO_FRAMES}"
ADMIN_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none';"
    f" form-action 'self'; {_NO_FRAMES}"
)


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise without streaming responses, for WSGI and ASGI."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """Return the file or the requested range."""
        answer = static_file.get_response(request.method, request.META)
        body = b""
        if answer.file is not None:
            with answer.file:
                body = answer.file.read()
        response = HttpResponse(body, status=int(answer.status))
        del response.headers["Content-Type"]
        for name, value in answer.headers:
            response.headers[name] = value
        return response


class ContentPolicyMiddleware:
    """Allow browsers to load only the files that a page needs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Set the policy of the path, unless the view has set one."""
        response = self.get_response(request)
        is_admin = request.path.startswith("/admin/")
        policy = ADMIN_POLICY if is_admin else POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response
