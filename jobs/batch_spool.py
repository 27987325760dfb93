"""Check a manifest line by line, and keep what came of it on disk until it is written.

Two files without a name, gone with the process: rows ready for the table, and what is
wrong with the other lines. Memory stays as it is however long the manifest.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import IO, Any

from django.conf import settings
from django.db import connection

from jobs import manifest_upload, manifests
from jobs.batch_items import ItemReader, ItemRules
from jobs.batch_rows import Row
from jobs.batches import MAX_FAULTS
from jobs.errors import Fault, ManyFaults
from jobs.faults import faults_of
from jobs.manifests import Entry
from jobs.models import Job
from jobs.uploads import IncomingFile

# Other requests are served by threads of the same process: let them in, often.
_LINES_A_TURN = 16
_TURN_SECONDS = 0.0002


@dataclass(slots=True)
class Checked:
    """What a manifest's lines came to."""

    rows: IO[str]
    faults: IO[str]
    good: int = 0
    bad: int = 0
    fault_count: int = 0
    first: list[Fault] = field(default_factory=list)

    def check_all_good(self) -> None:
        """Raise ManyFaults if any line is bad; the first hundred faults are told."""
        if self.fault_count:
            raise ManyFaults(self.first, count=self.fault_count)

    def read_rows(self, size: int) -> Iterator[list[Row]]:
        """Yield the good lines' rows, so many at a time."""
        for lines in _in_slices(self.rows, size):
            yield [Row.loads(line) for line in lines]

    def read_faults(self, size: int) -> Iterator[list[dict[str, Any]]]:
        """Yield what is wrong with the bad lines, so many faults at a time."""
        for lines in _in_slices(self.faults, size):
            yield [json.loads(line) for line in lines]


def _in_slices(file: IO[str], size: int) -> Iterator[list[str]]:
    file.seek(0)
    while lines := list(islice(file, size)):
        yield lines


@contextmanager
def check_manifest(file: IncomingFile, rules: ItemRules) -> Iterator[Checked]:
    """Check every line; the result is there while the block runs.

    Raises InvalidRequest or UploadTooLarge for what is wrong with the whole.
    """
    if not connection.in_atomic_block:
        connection.close()  # back to the pool: this takes a while and needs none
    with ExitStack() as stack:
        rows, faults = (
            stack.enter_context(
                tempfile.TemporaryFile(
                    "w+", encoding="utf-8", dir=settings.INCOMING_ROOT
                )
            )
            for _ in range(2)
        )
        checked, reader = Checked(rows, faults), ItemReader(rules)
        entries = manifests.read_entries(
            file,
            kind=manifest_upload.kind_of(file),
            max_bytes=settings.MANIFEST_MAX_BYTES,
        )
        for number, entry in enumerate(entries):
            if number % _LINES_A_TURN == 0:
                time.sleep(_TURN_SECONDS)
            _check_line(checked, entry, reader)
        yield checked


def _check_line(checked: Checked, entry: Entry, reader: ItemReader) -> None:
    job: Job | None = None
    if entry.error:
        found = faults_of(entry.error) or [
            Fault(pointer="", code=entry.error.code, detail=entry.error.message)
        ]
    else:
        job, found = reader.read(entry.fields)
    if job:
        job.line = entry.line
        checked.good += 1
        checked.rows.write(Row.of(job).dumps() + "\n")
        return
    checked.bad += 1
    checked.fault_count += len(found)
    excerpt = entry.excerpt.decode(errors="replace").replace("\0", "�")
    for fault in found:
        fault = replace(fault, line=entry.line)  # noqa: PLW2901
        if len(checked.first) < MAX_FAULTS:
            checked.first.append(fault)
        kept = {**asdict(fault), "excerpt": excerpt}
        checked.faults.write(json.dumps(kept) + "\n")
