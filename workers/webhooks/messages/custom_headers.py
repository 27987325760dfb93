"""Validate the custom headers of an endpoint. Pure.

Rejects headers that control routing, framing or identity, and those that cloud metadata
services require of legitimate clients (``Metadata-Flavor`` and others).
"""

import re
from collections.abc import Mapping
from typing import Any

from jobs.errors import InvalidRequest
from jobs.parsing.strict_json import pointer_to

MAX_HEADERS = 10
MAX_NAME_LENGTH = 100
MAX_VALUE_BYTES = 4096
BANNED = frozenset(
    {
        "accept",  # set by the platform
        "accept-encoding",
        "connection",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "metadata",
        "metadata-flavor",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
BANNED_PREFIXES = ("content-", "proxy-", "webhook-", "x-amz-", "x-goog")
TOKEN = re.compile(rf"[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,{MAX_NAME_LENGTH}}}")
# Printable ASCII without outer spaces: no proxy folds, trims or re-encodes it.
_VALUE = re.compile(rf"(?! )[ -~]{{1,{MAX_VALUE_BYTES}}}(?<! )")


def check_headers(headers: Mapping[str, Any], *, pointer: str) -> dict[str, str]:
    """Return the headers; raises InvalidRequest with a pointer to the invalid one."""
    seen: set[str] = set()
    for name, value in headers.items():
        position = pointer + pointer_to(name)
        if not TOKEN.fullmatch(name):
            message = f"A header name must be a token of 1 to {MAX_NAME_LENGTH}"
            _reject(f"{message} characters.", position)
        if is_banned(name):
            message = "This header is reserved for the platform."
            _reject(message, position, "header_not_allowed")
        if name.lower() in seen:
            _reject("This header occurs twice.", position)
        seen.add(name.lower())
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            message = f"A value must be 1 to {MAX_VALUE_BYTES} printable ASCII"
            _reject(f"{message} characters without outer spaces.", position)
    if len(headers) > MAX_HEADERS:
        _reject(f"At most {MAX_HEADERS} headers are allowed.", pointer)
    return dict(headers)


def is_banned(name: str) -> bool:
    """Return whether customers may not set this header.

    An underscore counts as a dash: CGI maps both to the same variable (RFC 3875).
    """
    name = name.lower().replace("_", "-")
    return name in BANNED or name.startswith(BANNED_PREFIXES)


def merge_headers(
    custom: Mapping[str, str], required: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers to send, without stored custom headers banned since."""
    return {
        **{name: value for name, value in custom.items() if not is_banned(name)},
        **required,
    }


def _reject(message: str, pointer: str, code: str = "header_invalid") -> None:
    raise InvalidRequest(message, code=code, pointer=pointer)
