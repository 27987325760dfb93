"""Check a batch item by item and spool the results on disk until they are saved.

Two anonymous temporary files: the rows of valid items, and the errors of the others.
Memory use does not depend on the length of the manifest.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from jobs.models import Batch
from jobs.parsing.strict_json import pointer_to
from jobs.rest.field_errors import to_field_errors

MAX_ERRORS = 100
# Characters of an error's detail, because some messages quote the value.
MAX_DETAIL = 500
# Per manifest: a thread that reads one takes CPU time from all others of the process.
MAX_CPU_SECONDS = 120.0
MANIFESTS_AT_ONCE = 2
WAIT_SECONDS = 120.0
_SPOOL_BYTES = 1024 * 1024  # of each file in memory
# Threads of the same process serve other requests. After this much work, however many
# lines, pause for a sixth of that time.
_WORK_SECONDS = 0.0008
_PAUSE_SHARE = 1 / 6

_slots = FairSlots(MANIFESTS_AT_ONCE)


@dataclass(frozen=True, slots=True)
class StoredFieldError:
    """An error of an item: its line or number from 1, and the item's first bytes."""

    line: int
    pointer: str
    code: str
    detail: str
    excerpt: str

    def dumps(self) -> str:
        """Return the error as a line of JSON."""
        return json.dumps(astuple(self))

    @classmethod
    def loads(cls, line: str) -> Self:
        """Parse the output of ``dumps``."""
        return cls(*json.loads(line))


@dataclass(slots=True)
class CheckResult:
    """The result of checking the lines of a manifest or the items of a list."""

    rows: IO[str]
    errors: IO[str]
    is_list: bool
    valid: int = 0
    invalid: int = 0
    error_count: int = 0
    first_errors: list[StoredFieldError] = field(default_factory=list)

    def check_all_valid(self) -> None:
        """Raise ValidationErrors with up to ``MAX_ERRORS`` if an item is invalid."""
        if self.error_count:
            errors = [self.locate(error) for error in self.first_errors]
            raise ValidationErrors(errors, count=self.error_count)

    def locate(self, error: StoredFieldError) -> FieldError:
        """Return the error as in a response: by line, or by pointer in a list."""
        line: int | None = error.line
        prefix = ""
        if self.is_list:
            line, prefix = None, pointer_to("items", error.line - 1)
        return FieldError(
            line=line,
            pointer=prefix + error.pointer,
            code=error.code,
            detail=error.detail,
        )

    def read_rows(self, size: int) -> Iterator[list[str]]:
        """Yield the rows of valid items as JSON, ``size`` at a time."""
        return _in_slices(self.rows, size)

    def read_errors(self, size: int) -> Iterator[list[StoredFieldError]]:
        """Yield the errors of invalid items, ``size`` at a time."""
        for lines in _in_slices(self.errors, size):
            yield [StoredFieldError.loads(line) for line in lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSubmission:
    """A requested batch; ``digest`` is that of the whole request.

    ``check`` reads and checks the items, which may be slow. It raises InvalidRequest or
    UploadTooLarge for errors of the manifest as a whole.
    """

    batch: Batch
    rules: ItemRules
    skips_invalid_items: bool
    digest: bytes
    check: Callable[[], AbstractContextManager[CheckResult]]


def _in_slices(file: IO[str], size: int) -> Iterator[list[str]]:
    file.seek(0)
    while lines := list(islice(file, size)):
        yield lines


@contextmanager
def check_manifest(file: IncomingFile, rules: ItemRules) -> Iterator[CheckResult]:
    """Check every line; the result is valid while the block runs.

    Raises InvalidRequest or UploadTooLarge for errors of the manifest as a whole, and
    ServiceUnavailable if no slot is free in time.
    """
    if not connection.in_atomic_block:
        connection.close()  # return it to the pool: this is slow and needs none
    entries = manifests_reader.read_entries(
        file,
        file_format=manifest_upload.format_of(file),
        max_bytes=settings.MANIFEST_MAX_BYTES,
    )
    slot = _slots.acquire(rules.tenant.pk, timeout=WAIT_SECONDS)
    with _check(entries, rules, slot=slot, is_list=False) as checked:
        yield checked


@contextmanager
def check_list(items: Sequence[Any], rules: ItemRules) -> Iterator[CheckResult]:
    """Check every item, numbered from 1; the result is valid while the block runs."""
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
        rows, errors = (
            stack.enter_context(
                SpooledTemporaryFile(
                    _SPOOL_BYTES, "w+", encoding="utf-8", dir=str(folder)
                )
            )
            for _ in range(2)
        )
        checked, reader = CheckResult(rows, errors, is_list), ItemReader(rules)
        with slot as is_free:
            if not is_free:
                message = "Too many manifests are being checked; retry shortly."
                raise ServiceUnavailable(message)
            for entry in _yield_with_pauses(entries):
                _check_entry(checked, entry, reader)
        yield checked


def _yield_with_pauses(entries: Iterable[ManifestEntry]) -> Iterator[ManifestEntry]:
    """Yield the entries; sleep regularly, so that other threads run.

    Refuses a manifest that needs more than MAX_CPU_SECONDS.
    """
    started, resumed = time.thread_time(), time.perf_counter()
    for entry in entries:
        yield entry
        worked = time.perf_counter() - resumed
        if worked < _WORK_SECONDS:
            continue
        if time.thread_time() - started > MAX_CPU_SECONDS:
            refuse_work("Reading the manifest takes too long.")
        time.sleep(min(worked * _PAUSE_SHARE, _WORK_SECONDS))
        resumed = time.perf_counter()


def _check_entry(
    checked: CheckResult, entry: ManifestEntry, reader: ItemReader
) -> None:
    row: JobRow | None = None
    if entry.error:
        errors = to_field_errors(entry.error) or [
            FieldError(pointer="", code=entry.error.code, detail=entry.error.message)
        ]
    else:
        row, errors = reader.read(entry.fields)
    if row:
        checked.valid += 1
        checked.rows.write(row._replace(line=entry.line).dumps() + "\n")
        return
    checked.invalid += 1
    checked.error_count += len(errors)
    excerpt = entry.excerpt.decode(errors="replace").replace("\0", "�")
    for error in errors:
        detail = error.detail[:MAX_DETAIL]
        stored = StoredFieldError(
            entry.line, error.pointer, error.code, detail, excerpt
        )
        if len(checked.first_errors) < MAX_ERRORS:
            checked.first_errors.append(stored)
        checked.errors.write(stored.dumps() + "\n")
