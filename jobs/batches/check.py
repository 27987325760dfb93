"""Tell all that is wrong with a batch's items, and write nothing into the database."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from jobs.batches.item_file import CheckResult
from jobs.batches.submission import BatchSubmission

_SLICE = 500
_TOLD = ("line", "pointer", "code", "detail")


def check_batch(submission: BatchSubmission) -> Iterator[bytes]:
    """Check every item now; return what to tell of them, read from disk as it is sent.

    Raises InvalidRequest or UploadTooLarge for what is wrong with the whole.
    """
    with ExitStack() as stack:
        checked = stack.enter_context(submission.check())
        return _tell(checked, stack.pop_all())


def _tell(checked: CheckResult, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        for kept in checked.read_faults(_SLICE):
            faults = map(checked.place, kept)
            told = ({name: getattr(it, name) for name in _TOLD} for it in faults)
            yield b"".join(map(_line, told))
        lines = checked.good + checked.bad
        yield _line({"lines": lines, "good": checked.good, "bad": checked.bad})


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode() + b"\n"
