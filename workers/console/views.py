"""``/console/``: one page for people, on top of the API and nothing else.

The page is the same for everybody and holds nothing; the key is its reader's, kept in
the browser's tab, and never sent here but in the API's own header.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

# Scripts, styles, the API, sockets and sounds made here; nothing from elsewhere.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src blob:",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def console(request: HttpRequest) -> HttpResponse:
    """Show the page; what is on it its scripts ask the API for."""
    headers = {
        "Content-Security-Policy": POLICY,
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Cache-Control": "no-cache",
    }
    answer = render(request, "console/console.html")
    for name, value in headers.items():
        answer.headers[name] = value
    return answer
