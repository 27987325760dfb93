"""A usage report as CSV (RFC 4180), safe to open in a spreadsheet. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What a spreadsheet would take for a formula, or for the end of a cell.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def format_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a header line and a line a row; what is not known is empty.

    Text that looks like a formula gets an apostrophe before it
    (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in columns])
    return file.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
