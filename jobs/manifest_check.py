"""Tell all that is wrong with a batch's items, and write nothing into the database."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Any

from jobs import batch_spool, lent_threads
from jobs.batch_spool import Checked
from jobs.errors import Fault
from jobs.manifest_intake import ManifestSubmission

_SLICE = 500
_TOLD = ("line", "pointer", "code", "detail")


def check_lines(submission: ManifestSubmission) -> Iterator[bytes]:
    """Check every line now; return what to tell of them, read from disk as it is sent.

    Raises InvalidRequest or UploadTooLarge for what is wrong with the whole.
    """
    with ExitStack() as stack:
        with lent_threads.lend_to_examination(submission.rules.tenant.pk):
            checked = stack.enter_context(
                batch_spool.check_manifest(submission.file, submission.rules)
            )
        return _tell(checked, stack.pop_all())


def tell_items(found: Sequence[Sequence[Fault]]) -> Iterator[bytes]:
    """Return what to tell of a list's items, each with its faults."""
    for fault in chain.from_iterable(found):
        yield _line({name: getattr(fault, name) for name in _TOLD})
    yield _counts(len(found), sum(map(bool, found)))


def _tell(checked: Checked, stack: ExitStack) -> Iterator[bytes]:
    with stack:
        for faults in checked.read_faults(_SLICE):
            told = ({name: fault[name] for name in _TOLD} for fault in faults)
            yield b"".join(map(_line, told))
        yield _counts(checked.good + checked.bad, checked.bad)


def _counts(lines: int, bad: int) -> bytes:
    return _line({"lines": lines, "good": lines - bad, "bad": bad})


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode() + b"\n"
