"""Check a batch's items and report all errors, without saving anything."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from jobs.batches.item_file import CheckResult
from jobs.batches.submission import BatchSubmission

_SLICE = 500
_FIELDS = ("line", "pointer", "code", "detail")


def check_batch(submission: BatchSubmission) -> Iterator[bytes]:
    """Check all items, then return the report as JSON lines, streamed from disk.

    Raises InvalidRequest or UploadTooLarge for errors of the manifest as a whole.
    """
    with ExitStack() as stack:
        checked = stack.enter_context(submission.check())
        return _stream_report(checked, stack.pop_all())


def _stream_report(checked: CheckResult, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        for stored in checked.read_errors(_SLICE):
            errors = map(checked.locate, stored)
            rows = ({name: getattr(each, name) for name in _FIELDS} for each in errors)
            yield b"".join(map(_encode_line, rows))
        lines = checked.valid + checked.invalid
        yield _encode_line(
            {"lines": lines, "good": checked.valid, "bad": checked.invalid}
        )


def _encode_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"
