"""Every way in which a request can be wrong, as one list of faults. Pure."""

from collections.abc import Iterator
from typing import Any

from rest_framework.exceptions import ErrorDetail, ValidationError

from jobs.errors import Fault, InvalidRequest
from jobs.strict_json import pointer_to


def faults_of(
    error: InvalidRequest | ValidationError, *within: str | int
) -> list[Fault]:
    """Return what is wrong, ours and DRF's alike; ``within`` is where in the body."""
    outer = pointer_to(*within)
    if isinstance(error, ValidationError):
        return list(_flatten(error.detail, outer))
    if not within:
        return list(error.faults)
    # Without a place of its own it is the whole's fault.
    found = error.faults or [Fault(pointer="", code=error.code, detail=error.message)]
    return [
        Fault(pointer=outer + fault.pointer, code=fault.code, detail=fault.detail)
        for fault in found
    ]


def _flatten(detail: Any, pointer: str) -> Iterator[Fault]:
    if isinstance(detail, dict):
        for name, inner in detail.items():
            is_whole = name == "non_field_errors"
            yield from _flatten(inner, pointer + ("" if is_whole else pointer_to(name)))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flatten(inner, pointer)
    elif isinstance(detail, ErrorDetail):
        code = "field_required" if detail.code == "required" else "field_invalid"
        yield Fault(pointer=pointer, code=code, detail=str(detail))
