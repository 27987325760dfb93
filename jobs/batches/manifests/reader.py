"""Parse a manifest into items: JSONL with one object per line, or CSV with a header.

``jobs.batches.items`` validates the items.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain, zip_longest
from typing import IO, Any, NoReturn

from jobs import options
from jobs.batches.manifests.lines import (
    MAX_LINES,
    ManifestLine,
    read_lines,
    refuse_too_many_lines,
    refuse_work,
)
from jobs.errors import InvalidRequest
from jobs.parsing import suggestions
from jobs.parsing.strict_json import is_storable, loads_strictly, pointer_to

EXCERPT = 200
# Enough for all fields and options, lists of 100 values, and 16 metadata columns.
MAX_COLUMNS = 250
# Of one CSV row, which may span several lines.
MAX_ROW_BYTES = 256 * 1024
# Of one line of JSON, by its commas. Full lists of all options need a third of it.
MAX_VALUES = 3_000
# Of the whole manifest: 100,000 lines of 200 cells.
MAX_CELLS = 20_000_000
# Separates several values in a cell, as in ``eu-west-1;us-east-1``.
SEPARATOR = ";"
COLUMNS = (
    *("audio_url", "custom_id", "priority", "callback_url", "allowed_regions"),
    *("max_attempts", "expires_at", "expires_in_seconds"),
)
_INTEGER_COLUMNS = {"max_attempts", "expires_in_seconds"}
_PREFIXES = ("options.", "metadata.")
# pandas turns the integers of a column with gaps into 2.0.
_INTEGER = re.compile(r"(-?[0-9]{1,9})(?:\.0{1,9})?")
# What pandas, R, SQL clients and spreadsheets write for a cell without a value.
_NULLS = frozenset({"nan", "NaN", "NaT", "<NA>", "None", "null", "NULL", "#N/A", "NA"})


class ManifestFormat(StrEnum):
    """The file format of a manifest."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """The parsed fields of one line or row, or its error."""

    line: int
    excerpt: bytes
    fields: Any = None
    error: InvalidRequest | None = None


def read_entries(
    file: IO[bytes], *, file_format: ManifestFormat | None, max_bytes: int
) -> Iterator[ManifestEntry]:
    """Yield the entries; without a format, the first line determines it.

    Raises InvalidRequest or UploadTooLarge for errors of the file as a whole.
    """
    lines = read_lines(file, max_bytes=max_bytes)
    first = next((line for line in lines if line.body.strip()), None)
    if first is None:
        refuse_empty()
    if file_format is None:
        is_object = first.body.lstrip().startswith(b"{")
        file_format = ManifestFormat.JSONL if is_object else ManifestFormat.CSV
    if file_format is ManifestFormat.JSONL:
        entries = _read_objects(chain([first], lines))
    else:
        entries = _read_table(first, lines)
    number = 0
    for number, entry in enumerate(entries, start=1):
        if number > MAX_LINES:
            refuse_too_many_lines()
        yield entry
    if not number:
        refuse_empty()


def refuse_empty() -> NoReturn:
    """Raise InvalidRequest for a manifest without items."""
    message = "The manifest has no lines, or none after its header."
    raise InvalidRequest(message, code="manifest_empty")


def _read_objects(lines: Iterable[ManifestLine]) -> Iterator[ManifestEntry]:
    values = 0
    for line in lines:
        excerpt, commas = line.body[:EXCERPT], line.body.count(b",")
        values += commas
        _check_total(values)
        try:
            _check_line(line)
            _check_values(commas)
            if line.body.strip():
                yield ManifestEntry(line.number, excerpt, loads_strictly(line.body))
        except InvalidRequest as error:
            yield ManifestEntry(line.number, excerpt, error=error)


def _check_total(number: int) -> None:
    if number > MAX_CELLS:
        refuse_work(f"The manifest has more than {MAX_CELLS:,} cells or values.")


def _check_values(number: int) -> None:
    if number > MAX_VALUES:
        message = f"The line has more than {MAX_VALUES:,} values."
        raise InvalidRequest(message, code="json_invalid")


def _check_line(line: ManifestLine) -> None:
    if line.is_too_long:
        message = "The line is longer than 65,536 bytes."
        raise InvalidRequest(message, code="line_too_long")
    try:
        line.body.decode()
    except UnicodeDecodeError:
        message = "The line is not UTF-8."
        raise InvalidRequest(message, code="text_invalid") from None


class _RowTooLong(InvalidRequest):
    """The row is too long."""

    code = "line_too_long"


@dataclass(slots=True)
class _CsvLines:
    """Feeds lines to the CSV reader and records those of the current row."""

    lines: Iterator[ManifestLine]
    row: list[ManifestLine] = field(default_factory=list)
    row_bytes: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.row_bytes > MAX_ROW_BYTES:
            raise _RowTooLong(f"The row is longer than {MAX_ROW_BYTES:,} bytes.")
        line = next(self.lines)
        self.row.append(line)
        self.row_bytes += len(line.body)
        # Invalid UTF-8 is reported with its row by ``_check_row``.
        return line.body.decode(errors="replace") + "\n"

    def begin_row(self) -> None:
        """Discard the lines of the previous row."""
        self.row.clear()
        self.row_bytes = 0


def _read_table(
    first: ManifestLine, lines: Iterator[ManifestLine]
) -> Iterator[ManifestEntry]:
    source = _CsvLines(chain([first], lines))
    rows = csv.reader(source, strict=True)
    columns: list[str] | None = None
    number = 0
    while True:
        source.begin_row()
        error, cells = None, list[str]()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as broken:
            message = f"This is not CSV: {broken}."
            error = InvalidRequest(message, code="csv_invalid")
        except _RowTooLong as too_long:
            error = too_long
        number += len(cells)
        _check_total(number)
        is_empty = not error and not any(cell.strip() for cell in cells)
        if is_empty:
            continue
        if columns is None:
            columns = _check_header(cells, error)
        else:
            yield _read_row(columns, cells, source.row, error)


def _check_header(cells: Sequence[str], error: InvalidRequest | None) -> list[str]:
    """Return the names of the columns; one without a name is empty."""
    if error:
        raise error
    if len(cells) > MAX_COLUMNS:
        message = f"A manifest has at most {MAX_COLUMNS} columns."
        raise InvalidRequest(message, code="manifest_header_invalid")
    names = [cell.strip() for cell in cells]
    for name in filter(None, names):
        prefix = next((each for each in _PREFIXES if name.startswith(each)), "")
        is_known = name in COLUMNS or (prefix and name != prefix)
        is_duplicate = names.count(name) > 1 and prefix != "options."
        if not is_known or is_duplicate:
            _refuse_column(name, is_duplicate=bool(is_known))
    return names


def _refuse_column(name: str, *, is_duplicate: bool) -> NoReturn:
    shown = f"The column '{name[:60] if is_storable(name) else '?'}'"
    message = f"{shown} is duplicated."
    if not is_duplicate:
        known = [*COLUMNS, *(f"options.{each}" for each in options.OPTIONS)]
        message = (
            f"{shown} is unknown.{suggestions.hint(name, known)} Separate cells by"
            f" commas; columns are {', '.join(COLUMNS)}, options.… and metadata.…"
        )
    raise InvalidRequest(message, code="manifest_header_invalid")


def _read_row(
    columns: Sequence[str],
    cells: Sequence[str],
    lines: Sequence[ManifestLine],
    error: InvalidRequest | None,
) -> ManifestEntry:
    number, excerpt = lines[0].number, lines[0].body[:EXCERPT]
    try:
        _check_row(columns, cells, lines, error)
        return ManifestEntry(number, excerpt, _build_item(columns, cells))
    except InvalidRequest as row_error:
        return ManifestEntry(number, excerpt, error=row_error)


def _check_row(
    columns: Sequence[str],
    cells: Sequence[str],
    lines: Sequence[ManifestLine],
    error: InvalidRequest | None,
) -> None:
    for line in lines:
        _check_line(line)
    if error:
        raise error
    # Spreadsheets leave out empty cells at the end of a row, or add some.
    is_unnamed = not all(
        name or not cell.strip() for name, cell in zip_longest(columns, cells) if cell
    )
    if is_unnamed:
        message = f"The row has {len(cells)} cells, the header {len(columns)}."
        if len(cells) <= len(columns):
            message = "The row has a cell below a column without a name."
        raise InvalidRequest(message, code="csv_invalid")


def _build_item(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    item: dict[str, Any] = {}
    option_values: dict[str, list[str]] = {}
    for name, cell in zip(columns, cells, strict=False):
        if not name or not cell.strip() or _is_null(name, cell):
            continue
        if not is_storable(cell):
            message = "Text must not contain NUL."
            raise InvalidRequest(message, code="text_invalid", pointer=_pointer(name))
        outer, _, inner = name.partition(".")
        if outer == "options":
            option_values.setdefault(inner, []).append(cell)
        elif outer == "metadata":
            item.setdefault("metadata", {})[inner] = cell
        else:
            item[name] = _read_cell(name, cell)
    if option_values:
        item["options"] = _read_options(option_values)
    return item


def _is_null(name: str, cell: str) -> bool:
    """Return whether the cell means "no value"; in metadata it is always text."""
    return cell.strip() in _NULLS and not name.startswith("metadata.")


def _read_options(option_values: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        name: options.read_text(name, values) for name, values in option_values.items()
    }


def _read_cell(name: str, cell: str) -> Any:
    if name in _INTEGER_COLUMNS and (whole := _INTEGER.fullmatch(cell.strip())):
        return int(whole[1])
    if name == "allowed_regions":
        return [each.strip() for each in cell.split(SEPARATOR)]
    return cell


def _pointer(name: str) -> str:
    return pointer_to(*name.split(".", 1))
