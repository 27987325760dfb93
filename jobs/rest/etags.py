"""Weak entity tags: whoever has the answer already is told so, and sent nothing.

Weak, because a tag stands for what was said and not for its bytes (RFC 9110, 8.8.1).
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
# What a 304 must repeat (RFC 9110, 15.4.5), and when to ask again.
_KEPT = (
    "ETag",
    "Cache-Control",
    "Vary",
    "Retry-After",
    "Deprecation",
    "Sunset",
    "Link",
)


def build_tag(facts: Any) -> str:
    """Return the tag of an answer that these facts make; equal ones, equal tags."""
    text = json.dumps(facts, sort_keys=True, cls=DjangoJSONEncoder)
    return _quote(text.encode())


def tag(request: Request, response: Response) -> HttpResponseNotModified | None:
    """Tag a rendered answer, unless its view did; return a 304 if the caller has it."""
    headers = response.headers
    headers.setdefault("ETag", _quote(response.content))
    if not is_known(request, headers["ETag"]):
        return None
    kept = {name: headers[name] for name in _KEPT if name in headers}
    return HttpResponseNotModified(headers=kept)


def is_known(request: Request | HttpRequest, entity_tag: str) -> bool:
    """Tell whether ``If-None-Match`` names the tag, compared weakly, or any at all."""
    named = parse_etags(request.headers.get("If-None-Match", ""))
    opaque = entity_tag.removeprefix("W/")
    return "*" in named or opaque in {each.removeprefix("W/") for each in named}


def _quote(content: bytes) -> str:
    return f'W/"{hashlib.sha256(content).hexdigest()[:_LENGTH]}"'
