"""A usage report as CSV (RFC 4180), safe to open in a spreadsheet. Pure."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Spreadsheets interpret these as a formula or as the end of a cell.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def format_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a header line and one line per row; None becomes an empty cell.

    Text that looks like a formula is prefixed with an apostrophe
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
