"""Check a batch item by item, and keep what came of it on disk until it is written.

Two files without a name, gone with the process: rows ready for the table, and what is
wrong with the other items. Memory stays as it is however long the manifest.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import astuple, dataclass, field
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Self

from django.conf import settings
from django.db import connection

from jobs.audio.uploads import IncomingFile
from jobs.batches.items import ItemReader, ItemRules
from jobs.batches.job_rows import JobRow
from jobs.batches.manifests import reader as manifests_reader
from jobs.batches.manifests import upload as manifest_upload
from jobs.batches.manifests.lines import refuse_work
from jobs.batches.manifests.reader import EXCERPT, ManifestEntry
from jobs.concurrency import parse_slots
from jobs.concurrency.fair_slots import FairSlots
from jobs.errors import FieldError, ServiceUnavailable, ValidationErrors
from jobs.rest.field_errors import to_field_errors
from jobs.strict_json import pointer_to

MAX_FAULTS = 100
# What is said of one fault: some messages quote the value.
MAX_DETAIL = 500
# Of one manifest. Each thread that reads one takes time from all others of its process.
MAX_CPU_SECONDS = 120.0
MANIFESTS_AT_ONCE = 2
WAIT_SECONDS = 120.0
_SPOOL_BYTES = 1024 * 1024  # so much of each stays in memory
# Other requests are served by threads of the same process: let them run after so much
# work, however many lines that is, for a sixth as long.
_WORK_SECONDS = 0.0008
_PAUSE_SHARE = 1 / 6

_slots = FairSlots(MANIFESTS_AT_ONCE)


@dataclass(frozen=True, slots=True)
class StoredFieldError:
    """What is wrong with an item: its line or number from 1, and how it begins."""

    line: int
    pointer: str
    code: str
    detail: str
    excerpt: str

    def dumps(self) -> str:
        """Return it as a line of text."""
        return json.dumps(astuple(self))

    @classmethod
    def loads(cls, line: str) -> Self:
        """Read what ``dumps`` wrote."""
        return cls(*json.loads(line))


@dataclass(slots=True)
class CheckResult:
    """What the lines of a manifest, or a list's items, came to."""

    rows: IO[str]
    faults: IO[str]
    is_list: bool
    good: int = 0
    bad: int = 0
    fault_count: int = 0
    first: list[StoredFieldError] = field(default_factory=list)

    def check_all_good(self) -> None:
        """Raise ManyFaults if any item is bad; the first hundred faults are told."""
        if self.fault_count:
            found = [self.place(kept) for kept in self.first]
            raise ValidationErrors(found, count=self.fault_count)

    def place(self, kept: StoredFieldError) -> FieldError:
        """Return a fault as its sender is told of it: a list's items have no lines."""
        line: int | None = kept.line
        within = ""
        if self.is_list:
            line, within = None, pointer_to("items", kept.line - 1)
        return FieldError(
            line=line,
            pointer=within + kept.pointer,
            code=kept.code,
            detail=kept.detail,
        )

    def read_rows(self, size: int) -> Iterator[list[str]]:
        """Yield the good items' rows as they were dumped, so many at a time."""
        return _in_slices(self.rows, size)

    def read_faults(self, size: int) -> Iterator[list[StoredFieldError]]:
        """Yield what is wrong with the bad items, so many faults at a time."""
        for lines in _in_slices(self.faults, size):
            yield [StoredFieldError.loads(line) for line in lines]


def _in_slices(file: IO[str], size: int) -> Iterator[list[str]]:
    file.seek(0)
    while lines := list(islice(file, size)):
        yield lines


@contextmanager
def check_manifest(file: IncomingFile, rules: ItemRules) -> Iterator[CheckResult]:
    """Check every line; the result is there while the block runs.

    Raises InvalidRequest or UploadTooLarge for what is wrong with the whole, and
    ServiceUnavailable where no slot was free in time.
    """
    if not connection.in_atomic_block:
        connection.close()  # back to the pool: this takes a while and needs none
    entries = manifests_reader.read_entries(
        file,
        kind=manifest_upload.kind_of(file),
        max_bytes=settings.MANIFEST_MAX_BYTES,
    )
    slot = _slots.take(rules.tenant.pk, timeout=WAIT_SECONDS)
    with _check(entries, rules, slot=slot, is_list=False) as checked:
        yield checked


@contextmanager
def check_list(items: Sequence[Any], rules: ItemRules) -> Iterator[CheckResult]:
    """Check every item, counted from 1; the result is there while the block runs."""
    entries = (
        ManifestEntry(
            number, json.dumps(item, ensure_ascii=False).encode()[:EXCERPT], item
        )
        for number, item in enumerate(items, start=1)
    )
    is_large = len(items) > parse_slots.MANY_ITEMS
    slot = parse_slots.parse_slot(rules.tenant.pk, is_large=is_large)
    with _check(entries, rules, slot=slot, is_list=True) as checked:
        yield checked


@contextmanager
def _check(
    entries: Iterable[ManifestEntry],
    rules: ItemRules,
    *,
    slot: AbstractContextManager[bool],
    is_list: bool,
) -> Iterator[CheckResult]:
    folder = settings.INCOMING_ROOT
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with ExitStack() as stack:
        rows, faults = (
            stack.enter_context(
                SpooledTemporaryFile(
                    _SPOOL_BYTES, "w+", encoding="utf-8", dir=str(folder)
                )
            )
            for _ in range(2)
        )
        checked, reader = CheckResult(rows, faults, is_list), ItemReader(rules)
        with slot as is_free:
            if not is_free:
                message = "Too many manifests are being read; send this again shortly."
                raise ServiceUnavailable(message)
            for entry in _in_turns(entries):
                _check_entry(checked, entry, reader)
        yield checked


def _in_turns(entries: Iterable[ManifestEntry]) -> Iterator[ManifestEntry]:
    """Yield the entries with pauses; refuse a manifest that takes too long to read."""
    started, turn_began = time.thread_time(), time.perf_counter()
    for entry in entries:
        yield entry
        worked = time.perf_counter() - turn_began
        if worked < _WORK_SECONDS:
            continue
        if time.thread_time() - started > MAX_CPU_SECONDS:
            refuse_work("Reading the manifest takes too long.")
        time.sleep(min(worked * _PAUSE_SHARE, _WORK_SECONDS))
        turn_began = time.perf_counter()


def _check_entry(
    checked: CheckResult, entry: ManifestEntry, reader: ItemReader
) -> None:
    row: JobRow | None = None
    if entry.error:
        found = to_field_errors(entry.error) or [
            FieldError(pointer="", code=entry.error.code, detail=entry.error.message)
        ]
    else:
        row, found = reader.read(entry.fields)
    if row:
        checked.good += 1
        checked.rows.write(row._replace(line=entry.line).dumps() + "\n")
        return
    checked.bad += 1
    checked.fault_count += len(found)
    excerpt = entry.excerpt.decode(errors="replace").replace("\0", "�")
    for fault in found:
        detail = fault.detail[:MAX_DETAIL]
        kept = StoredFieldError(entry.line, fault.pointer, fault.code, detail, excerpt)
        if len(checked.first) < MAX_FAULTS:
            checked.first.append(kept)
        checked.faults.write(kept.dumps() + "\n")
