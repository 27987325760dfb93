"""Weak entity tags: 304 for a client that already has the current representation.

Weak, because a tag identifies the content and not its bytes (RFC 9110, 8.8.1).
"""

import hashlib
import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponseNotModified
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.response import Response

_LENGTH = 24
# A 304 repeats these (RFC 9110, 15.4.5), and the headers that apply to every response.
_HEADERS_OF_304 = (
    "ETag",
    "Cache-Control",
    "Vary",
    "Retry-After",
    "Deprecation",
    "Sunset",
    "Link",
)


def build_tag(content: Any) -> str:
    """Return the tag of JSON-serializable content; equal content has equal tags."""
    text = json.dumps(content, sort_keys=True, cls=DjangoJSONEncoder)
    return _quote(text.encode())


def tag(request: Request, response: Response) -> HttpResponseNotModified | None:
    """Add an ``ETag`` to a rendered response; return a 304 if the client has it.

    A tag that the view has set stays.
    """
    headers = response.headers
    headers.setdefault("ETag", _quote(response.content))
    if not is_known(request, headers["ETag"]):
        return None
    repeated = {name: headers[name] for name in _HEADERS_OF_304 if name in headers}
    return HttpResponseNotModified(headers=repeated)


def is_known(request: Request | HttpRequest, entity_tag: str) -> bool:
    """Return whether ``If-None-Match`` is ``*`` or has the tag (weak comparison)."""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    opaque = entity_tag.removeprefix("W/")
    return "*" in known or opaque in {each.removeprefix("W/") for each in known}


def _quote(content: bytes) -> str:
    return f'W/"{hashlib.sha256(content).hexdigest()[:_LENGTH]}"'
