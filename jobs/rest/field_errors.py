"""Convert the errors of services and of DRF to one list of field errors. Pure."""

from collections.abc import Iterator
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from jobs.errors import FieldError, InvalidRequest
from jobs.parsing.strict_json import pointer_to


def to_field_errors(
    error: InvalidRequest | ValidationError, *within: str | int
) -> list[FieldError]:
    """Return the field errors; ``within`` is the path of the object in the body."""
    outer = pointer_to(*within)
    if isinstance(error, ValidationError):
        return list(_flatten(error.detail, outer))
    if not within:
        return list(error.field_errors)
    # An error without a pointer applies to the whole object.
    found = error.field_errors or [
        FieldError(pointer="", code=error.code, detail=error.message)
    ]
    return [
        FieldError(pointer=outer + each.pointer, code=each.code, detail=each.detail)
        for each in found
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
