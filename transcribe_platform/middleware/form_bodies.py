"""Reject a form that is too large for a page, or that does not state its length.

Django's CSRF check reads the whole form before the view runs. API views and read-only
pages are exempt from that check and need no limit here.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from jobs.audio.uploads import is_chunked
from jobs.parsing.whole_numbers import parse_whole_number
from transcribe_platform.api_errors.problems import problem_response

# More than any login form, also for operators whose session has expired.
ANONYMOUS_FORM_BYTES = 64 * 1024


class FormBodyMiddleware:
    """Limit forms to ``JSON_MAX_BYTES``, and to 64 KiB without a session."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on; ``process_view`` does the check."""
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, _args: Any, _named: Any
    ) -> HttpResponse | None:
        """Return 411 or 413 for such a form, before the CSRF check."""
        if getattr(view, "csrf_exempt", False):
            return None
        if is_chunked(request.META):
            detail = "Send the form with a Content-Length header."
            return problem_response(
                request, status=411, code="length_required", detail=detail
            )
        length = parse_whole_number(request.META.get("CONTENT_LENGTH") or "") or 0
        if length <= ANONYMOUS_FORM_BYTES:
            return None
        user = getattr(request, "user", None)  # the API's requests have none
        if length <= settings.JSON_MAX_BYTES and user and user.is_authenticated:
            return None
        detail = "The form is too large for this page."
        return problem_response(
            request, status=413, code="body_too_large", detail=detail
        )
