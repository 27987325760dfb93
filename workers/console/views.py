"""``/console/``: one static page that uses the public API.

The page contains no data. The browser tab stores the API key and sends it only in the
Authorization header of API requests.
"""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

# Allows this origin only, and audio created by the page.
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
    """Return the page; its scripts fetch the data from the API."""
    headers = {
        "Content-Security-Policy": POLICY,
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Cache-Control": "no-cache",
    }
    response = render(request, "console/console.html")
    for name, value in headers.items():
        response.headers[name] = value
    return response
