"""Say in time that something will go: RFC 9745, RFC 8594 and a page that tells more.

A view names what is deprecated in ``deprecated``, by a method (``GET``), a query
parameter (``?name``) or a field of the body (``/name``); answers to those who use it
carry the headers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.utils.http import http_date
from rest_framework.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprecation:
    """Since when one should not use it, where to read more, and when it goes."""

    since: datetime
    link: str
    sunset: datetime | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that say so."""
        said = {
            "Deprecation": f"@{int(self.since.timestamp())}",
            "Link": f'<{self.link}>; rel="deprecation"; type="text/html"',
        }
        if self.sunset:
            said["Sunset"] = http_date(self.sunset.timestamp())
        return said


def find_used(
    request: Request, method: str, deprecated: Mapping[str, Deprecation]
) -> Deprecation | None:
    """Return what of it the request used; of several, what goes first."""
    used = {*_names_in(request), method} if deprecated else set()
    found = [deprecated[name] for name in used if name in deprecated]
    return min(
        found, key=lambda it: (it.sunset is None, it.sunset or it.since), default=None
    )


def _names_in(request: Request) -> Iterator[str]:
    for name in request.query_params:
        yield f"?{name}"
    # Only of a body that was read: one that was refused is not read for this.
    body = getattr(request, "_full_data", None)
    for name in body if isinstance(body, Mapping) else ():
        yield f"/{name}"
