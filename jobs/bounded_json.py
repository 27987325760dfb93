"""Parse untrusted JSON with limits that are checked before parsing. Pure.

``json.loads`` recurses once per level and raises RecursionError for deep nesting. Here
the depth is measured first, in linear time, so no text reaches that limit.
"""

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 16

# Possessive, with an optional closing quote: reads each character once.
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


class JSONLimitExceeded(ValueError):
    """The text exceeds the caller's limit of size or depth."""


def loads_bounded(
    text: str | bytes, *, max_chars: int, max_depth: int = MAX_DEPTH
) -> Any:
    """Return the value; raise ValueError for invalid JSON or an exceeded limit.

    NaN and infinities are invalid.
    """
    if len(text) > max_chars:
        raise JSONLimitExceeded(f"it is longer than {max_chars} characters")
    check_depth(text, max_depth)
    return json.loads(text, parse_constant=_refuse)


def check_depth(text: str | bytes, max_depth: int = MAX_DEPTH) -> None:
    """Raise JSONLimitExceeded for more than ``max_depth`` levels."""
    raw = text.encode(errors="replace") if isinstance(text, str) else text
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    brackets = _STRINGS.sub(b"", raw).translate(_ONE_KIND, _NOT_BRACKETS)
    too_deep = b"[" * (max_depth + 1)
    for _ in range(max_depth):  # each pass removes the innermost level
        if too_deep in brackets or b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    # The rest is too deep or never closed; the parser rejects the latter.
    if brackets.count(b"[") > (0 if b"[]" in brackets else max_depth):
        raise JSONLimitExceeded(f"it is nested more than {max_depth} levels deep")


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
