"""Which headers a customer may have sent with its webhooks. Pure.

Refused are those that say where a message goes, how it is framed or who sent it, and
those by which a cloud's metadata service tells friend from foe.
"""

import re
from collections.abc import Mapping
from typing import Any

from jobs.errors import InvalidRequest
from jobs.strict_json import pointer_to

MAX_HEADERS = 10
MAX_NAME_LENGTH = 100
MAX_VALUE_BYTES = 4096
BANNED = frozenset(
    {
        "accept",  # ours
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
_TOKEN = re.compile(rf"[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,{MAX_NAME_LENGTH}}}")
# Printable ASCII, no space at either end: nobody folds, trims or re-encodes it.
_VALUE = re.compile(rf"(?! )[ -~]{{1,{MAX_VALUE_BYTES}}}(?<! )")


def check_headers(headers: Mapping[str, Any], *, pointer: str) -> dict[str, str]:
    """Return the headers; raises InvalidRequest pointing at the first bad one."""
    seen: set[str] = set()
    for name, value in headers.items():
        where = pointer + pointer_to(name)
        if not _TOKEN.fullmatch(name):
            message = f"A header's name is a token of 1 to {MAX_NAME_LENGTH} characters"
            _refuse(f"{message}.", where)
        if is_banned(name):
            _refuse("This header is ours to set.", where, "header_not_allowed")
        if name.lower() in seen:
            _refuse("This header is given twice.", where)
        seen.add(name.lower())
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            message = f"A value is 1 to {MAX_VALUE_BYTES} characters of printable ASCII"
            _refuse(f"{message}, without space at its ends.", where)
    if len(headers) > MAX_HEADERS:
        _refuse(f"There are at most {MAX_HEADERS} headers.", pointer)
    return dict(headers)


def is_banned(name: str) -> bool:
    """Tell whether the name is not the customer's to set.

    An underscore counts as a dash: CGI and its heirs read both alike.
    """
    name = name.lower().replace("_", "-")
    return name in BANNED or name.startswith(BANNED_PREFIXES)


def merge_headers(custom: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return what is sent: a row older than the ban list overrides nothing of ours."""
    return {
        **{name: value for name, value in custom.items() if not is_banned(name)},
        **ours,
    }


def _refuse(message: str, pointer: str, code: str = "header_invalid") -> None:
    raise InvalidRequest(message, code=code, pointer=pointer)
