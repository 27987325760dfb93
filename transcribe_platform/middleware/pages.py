"""Django's middleware of HTML pages, which API requests pass by.

They have no session, no operator and no messages: their views read API keys, and the
middleware would only cost time.
"""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest

API_PREFIXES = ("/v1/", "/v2/")


class _ForPages:
    get_response: Callable[[HttpRequest], Any]

    def __call__(self, request: HttpRequest) -> Any:
        """Pass on a request to the API; a coroutine if the next middleware is async."""
        if request.path.startswith(API_PREFIXES):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class PageSessionMiddleware(_ForPages, SessionMiddleware):
    """Sessions of pages."""


class PageAuthenticationMiddleware(_ForPages, AuthenticationMiddleware):
    """Operators of pages."""


class PageMessageMiddleware(_ForPages, MessageMiddleware):
    """Messages of pages."""
