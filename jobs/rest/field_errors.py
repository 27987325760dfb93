"""Every way in which a request can be wrong, as one list of field_errors. Pure."""

from collections.abc import Iterator
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from jobs.errors import FieldError, InvalidRequest
from jobs.strict_json import pointer_to


def to_field_errors(
    error: InvalidRequest | ValidationError, *within: str | int
) -> list[FieldError]:
    """Return what is wrong, ours and DRF's alike; ``within`` is where in the body."""
    outer = pointer_to(*within)
    if isinstance(error, ValidationError):
        return list(_flatten(error.detail, outer))
    if not within:
        return list(error.field_errors)
    # Without a place of its own it is the whole's fault.
    found = error.field_errors or [
        FieldError(pointer="", code=error.code, detail=error.message)
    ]
    return [
        FieldError(pointer=outer + fault.pointer, code=fault.code, detail=fault.detail)
        for fault in found
    ]


def _flatten(detail: Any, pointer: str) -> Iterator[FieldError]:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            is_whole = name == "non_field_errors"
            yield from _flatten(inner, pointer + ("" if is_whole else pointer_to(name)))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flatten(inner, pointer)
    elif isinstance(detail, ErrorDetail):
        code = "field_required" if detail.code == "required" else "field_invalid"
        yield FieldError(pointer=pointer, code=code, detail=str(detail))
