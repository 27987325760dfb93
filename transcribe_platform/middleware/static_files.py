"""Serve the files of /docs, /problems and /admin, and say what a page may load.

WhiteNoise finds and describes the files. Its answers stream, which over ASGI Django
only does with a warning; these files are small, so here they are read whole.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

_NOTHING = "base-uri 'none'; frame-ancestors 'none'"
# The pages of ours have no script, no form and nothing from elsewhere.
POLICY = f"default-src 'none'; style-src 'self'; img-src 'self'; {_NOTHING}"
ADMIN_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none';"
    f" form-action 'self'; {_NOTHING}"
)


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise with whole answers, for both gateways."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """Answer with the file, or with as much of it as was asked for."""
        found = static_file.get_response(request.method, request.META)
        body = b""
        if found.file is not None:
            with found.file:
                body = found.file.read()
        response = HttpResponse(body, status=int(found.status))
        del response.headers["Content-Type"]
        for name, value in found.headers:
            response.headers[name] = value
        return response


class ContentPolicyMiddleware:
    """Let a browser load nothing but what the page is known to need."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer with the policy of the path."""
        response = self.get_response(request)
        is_admin = request.path.startswith("/admin/")
        policy = ADMIN_POLICY if is_admin else POLICY
        response.headers.setdefault("Content-Security-Policy", policy)
        return response
