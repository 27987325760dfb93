"""Read a manifest as items: JSONL, an object a line, or CSV, with a row of names.

Knows nothing of what an item may say; that is ``jobs.batches.items``'.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import IO, Any, NoReturn

from jobs import options
from jobs.batches.manifest_lines import MAX_LINES, Line, read_lines, refuse_length
from jobs.errors import InvalidRequest
from jobs.strict_json import is_storable, loads_strictly, pointer_to

EXCERPT = 200
# Of more than one value in a cell, as in ``eu-west-1;us-east-1``.
SEPARATOR = ";"
COLUMNS = (
    *("audio_url", "custom_id", "priority", "callback_url", "allowed_regions"),
    *("max_attempts", "expires_at", "expires_in_seconds"),
)
_NUMBERS = {"max_attempts", "expires_in_seconds"}
_NESTED = ("options.", "metadata.")
_WHOLE = re.compile(r"-?[0-9]{1,9}")


class Kind(StrEnum):
    """What a manifest is written in."""

    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line says, or what keeps it from saying anything."""

    line: int
    excerpt: bytes
    fields: Any = None
    error: InvalidRequest | None = None


def read_entries(
    file: IO[bytes], *, kind: Kind | None, max_bytes: int
) -> Iterator[Entry]:
    """Yield what each line says; without a kind, by how the first one begins.

    Raises InvalidRequest or UploadTooLarge for what is wrong with the whole.
    """
    lines = read_lines(file, max_bytes=max_bytes)
    first = next((line for line in lines if line.body.strip()), None)
    if first is None:
        refuse_emptiness()
    if kind is None:
        is_object = first.body.lstrip().startswith(b"{")
        kind = Kind.JSONL if is_object else Kind.CSV
    if kind is Kind.JSONL:
        entries = _read_objects(chain([first], lines))
    else:
        entries = _read_table(first, lines)
    number = 0
    for number, entry in enumerate(entries, start=1):
        if number > MAX_LINES:
            refuse_length()
        yield entry
    if not number:
        refuse_emptiness()


def refuse_emptiness() -> NoReturn:
    """Say that there is nothing to do."""
    message = "There is no line in the manifest, or none after its header."
    raise InvalidRequest(message, code="manifest_empty")


def _read_objects(lines: Iterable[Line]) -> Iterator[Entry]:
    for line in lines:
        excerpt = line.body[:EXCERPT]
        try:
            _check_line(line)
            if line.body.strip():
                yield Entry(line.number, excerpt, loads_strictly(line.body))
        except InvalidRequest as error:
            yield Entry(line.number, excerpt, error=error)


def _check_line(line: Line) -> None:
    if line.is_too_long:
        message = "The line is longer than 65,536 bytes."
        raise InvalidRequest(message, code="line_too_long")
    try:
        line.body.decode()
    except UnicodeDecodeError:
        message = "The line is not UTF-8."
        raise InvalidRequest(message, code="text_invalid") from None


@dataclass(slots=True)
class _Taken:
    """Lines on their way to the CSV reader, and what became of them."""

    lines: Iterator[Line]
    number: int = 0
    # As they came, from where the present row begins.
    row: list[Line] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.row.append(line)
            # What cannot be decoded is refused below, with the row that it is in.
            yield line.body.decode(errors="replace") + "\n"


def _read_table(first: Line, lines: Iterator[Line]) -> Iterator[Entry]:
    taken = _Taken(chain([first], lines))
    rows = csv.reader(iter(taken), strict=True)
    columns: list[str] | None = None
    while True:
        taken.row.clear()
        error, cells = None, list[str]()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as broken:
            message = f"This is not CSV: {broken}."
            error = InvalidRequest(message, code="csv_invalid")
        if columns is None:
            columns = _check_header(cells, error)
        elif cells or error:
            yield _read_row(columns, cells, taken.row, error)


def _check_header(cells: Sequence[str], error: InvalidRequest | None) -> list[str]:
    if error:
        raise error
    names = [cell.strip() for cell in cells]
    for name in names:
        prefix = next((each for each in _NESTED if name.startswith(each)), "")
        is_known = name in COLUMNS or (prefix and name != prefix)
        is_doubled = names.count(name) > 1 and prefix != "options."
        if not is_known or is_doubled:
            shown = f"The column '{name[:60] if is_storable(name) else '?'}'"
            message = (
                f"{shown} is there twice."
                if is_known
                else f"{shown} is none of ours; cells are separated by commas, and"
                f" columns are {', '.join(COLUMNS)}, options.… and metadata.…"
            )
            raise InvalidRequest(message, code="manifest_header_invalid")
    return names


def _read_row(
    columns: Sequence[str],
    cells: Sequence[str],
    lines: Sequence[Line],
    error: InvalidRequest | None,
) -> Entry:
    number, excerpt = lines[0].number, lines[0].body[:EXCERPT]
    try:
        _check_row(columns, cells, lines, error)
        return Entry(number, excerpt, _build_item(columns, cells))
    except InvalidRequest as wrong:
        return Entry(number, excerpt, error=wrong)


def _check_row(
    columns: Sequence[str],
    cells: Sequence[str],
    lines: Sequence[Line],
    error: InvalidRequest | None,
) -> None:
    for line in lines:
        _check_line(line)
    if error:
        raise error
    if len(cells) != len(columns):
        message = f"The row has {len(cells)} cells, the header {len(columns)}."
        raise InvalidRequest(message, code="csv_invalid")


def _build_item(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    item: dict[str, Any] = {}
    asked: dict[str, list[str]] = {}
    for name, cell in zip(columns, cells, strict=True):
        if not cell:
            continue
        if not is_storable(cell):
            message = "Text must not hold NUL."
            raise InvalidRequest(message, code="text_invalid", pointer=_pointer(name))
        outer, _, inner = name.partition(".")
        if outer == "options":
            asked.setdefault(inner, []).append(cell)
        elif outer == "metadata":
            item.setdefault("metadata", {})[inner] = cell
        else:
            item[name] = _read_cell(name, cell)
    if asked:
        item["options"] = _read_options(asked)
    return item


def _read_options(asked: Mapping[str, list[str]]) -> dict[str, Any]:
    return {name: options.read_text(name, values) for name, values in asked.items()}


def _read_cell(name: str, cell: str) -> Any:
    if name in _NUMBERS and _WHOLE.fullmatch(cell):
        return int(cell)
    if name == "allowed_regions":
        return [each.strip() for each in cell.split(SEPARATOR)]
    return cell


def _pointer(name: str) -> str:
    return pointer_to(*name.split(".", 1))
