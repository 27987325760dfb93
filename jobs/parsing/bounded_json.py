"""Parse untrusted JSON with limits that are checked before parsing. Pure.

``json.loads`` recurses once per level and raises RecursionError for deep nesting. Here
the depth is measured first, in linear time, so no text reaches that limit.
"""

import json
from typing import Any, NoReturn

MAX_DEPTH = 16

_BRACKETS = b"[]{}"
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
    brackets = _outside_strings(raw, _BRACKETS).translate(_ONE_KIND)
    too_deep = b"[" * (max_depth + 1)
    for _ in range(max_depth):  # each pass removes the innermost level
        if too_deep in brackets or b"[]" not in brackets:
            break
        brackets = brackets.replace(b"[]", b"")
    # The rest is too deep or never closed; the parser rejects the latter.
    if brackets.count(b"[") > (0 if b"[]" in brackets else max_depth):
        raise JSONLimitExceeded(f"it is nested more than {max_depth} levels deep")


def check_size(raw: bytes, *, max_containers: int, max_values: int) -> None:
    """Raise JSONLimitExceeded for too many arrays and objects, or values.

    A parser creates an object for each. Values are counted by their commas.
    """
    if (
        raw.count(b"[") + raw.count(b"{") > max_containers
        and len(_outside_strings(raw, b"[{")) > max_containers
    ):
        raise JSONLimitExceeded(f"it has more than {max_containers:,} lists or objects")
    if raw.count(b",") > max_values and len(_outside_strings(raw, b",")) > max_values:
        raise JSONLimitExceeded(f"it has more than {max_values:,} values")


def _outside_strings(raw: bytes, counted: bytes) -> bytes:
    """Return the ``counted`` bytes outside of strings; drop all others.

    Each step is one pass in C. A regular expression for strings needs 100 ms per
    megabyte of short ones, and blocks all other threads meanwhile.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    dropped = bytes(set(range(256)) - set(counted + b'"'))
    # Two adjacent quotes enclose nothing that is counted, inside or outside a string.
    remaining = raw.translate(None, dropped).replace(b'""', b"")
    return b"".join(remaining.split(b'"')[::2])


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
