"""Parse unambiguous JSON that PostgreSQL can store. Pure.

Does not limit sizes: the caller has the text in memory already.
"""

import json
import math
import re
from typing import Any, NoReturn

from jobs.errors import InvalidRequest
from jobs.parsing.bounded_json import JSONLimitExceeded, check_depth, check_size

MAX_DEPTH = 8
# I-JSON (RFC 7493): JavaScript parsers change larger ones.
MAX_INTEGER = 2**53 - 1
# More than a batch of 1,000 items with lists in every option.
MAX_CONTAINERS = 25_000
MAX_VALUES = 100_000
# Unicode's category Cc: not the joiners, spaces and marks that other scripts need.
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# Escapes that may be NUL or a lone surrogate: UTF-8 and raw JSON contain neither.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def loads_strictly(body: bytes, *, pointer: str = "") -> Any:
    """Parse JSON; raise InvalidRequest if it is invalid or ambiguous.

    Rejects duplicate keys, NaN and infinities, integers above 2^53, more than 8 levels,
    more values than any request needs, NUL and lone surrogates. A byte order mark is
    ignored (RFC 8259, 8.1). ``pointer`` is the location of the text in the request.
    """
    try:
        # The parser recurses once per level and creates an object per value, so both
        # are counted first, in linear time.
        check_depth(body)
        check_size(body, max_containers=MAX_CONTAINERS, max_values=MAX_VALUES)
        parsed = _DECODER.decode(body.decode("utf-8-sig"))
    except JSONLimitExceeded as error:
        _refuse_json(f"The JSON is too large or too deep: {error}.", pointer)
    except ValueError as error:
        reason = str(error) if type(error) is ValueError else "it does not parse"
        _refuse_json(f"Invalid JSON: {reason}.", pointer)
    if _SUSPECT.search(body) or _is_deep(body):
        _check_value(parsed, [], pointer)
    return parsed


def _is_deep(body: bytes) -> bool:
    """Return whether the body may exceed ``MAX_DEPTH``: a cheap first check."""
    try:
        check_depth(body, MAX_DEPTH)
    except JSONLimitExceeded:
        return True
    return False


def pointer_to(*path: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of a location in the body."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "".join(f"/{part}" for part in escaped)


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store the text: no NUL, no lone surrogate."""
    return _UNSTORABLE.search(text) is None


def has_control_character(text: str) -> bool:
    """Return whether the text has a control character (Unicode category Cc)."""
    return _CONTROL.search(text) is not None


def _check_value(value: object, path: list[str | int], pointer: str) -> None:
    """Check a value recursively; the pointer is built only for an error."""
    if len(path) > MAX_DEPTH:
        _refuse_json("The JSON is nested too deeply.", pointer + pointer_to(*path))
    if isinstance(value, str):
        _check_text(value, path, pointer)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(item, [*path, index], pointer)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key, path, pointer)
            _check_value(item, [*path, key], pointer)


def _check_text(text: str, path: list[str | int], pointer: str) -> None:
    if not is_storable(text):
        message = "Text must not contain NUL or a lone surrogate."
        location = pointer + pointer_to(*path)
        raise InvalidRequest(message, code="text_invalid", pointer=location)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("an object has a duplicate key")
    return unique


def _refuse_number(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON numbers")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse_number(text)
    return number


def _bounded(text: str) -> int:
    # Length first: the run time of int() is quadratic.
    if len(text) > len(str(-MAX_INTEGER)) or abs(int(text)) > MAX_INTEGER:
        raise ValueError("an integer exceeds 2^53; send it as text")
    return int(text)


def _refuse_json(message: str, pointer: str) -> NoReturn:
    raise InvalidRequest(message, code="json_invalid", pointer=pointer)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_refuse_number,
    parse_float=_finite,
    parse_int=_bounded,
)
