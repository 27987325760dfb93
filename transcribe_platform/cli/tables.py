"""Output of rows: a table at a terminal, tab-separated columns in a pipe."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from transcribe_platform.cli.session import Session, printable

Columns = Mapping[str, Callable[[Any], object]]
_ELASTIC = frozenset({"audio", "url"})
_MIN_WIDTH = 12
_COLORS = {
    "completed": "green",
    "delivered": "green",
    "failed": "red",
    "expired": "red",
    "discarded": "red",
    "processing": "cyan",
}


def show_rows(session: Session, rows: Iterable[Any], columns: Columns) -> None:
    """Show rows: complete as JSON, or the columns."""
    if session.as_json:
        for row in rows:
            session.emit(row)
        return
    cells = ([_text(get(row)) for get in columns.values()] for row in rows)
    if session.is_terminal:
        _show_table(list(columns), cells)
        return
    for line in cells:
        click.echo("\t".join(line))


def show_one(session: Session, row: Mapping[str, Any]) -> None:
    """Show all fields of one object."""
    if session.as_json:
        session.emit(row)
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        if value not in (None, {}, [], ""):
            click.echo(f"{name:{width}}  {_text(value)}")


def format_time(text: str | None) -> str:
    """Return a time of the API in the local time zone."""
    if not text:
        return ""
    time = datetime.fromisoformat(text)
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def format_duration(seconds: float | None) -> str:
    """Return a duration as h:mm:ss."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def parse_time(text: str, *, now: datetime) -> str:
    """Return an ISO time for the API; accepts ages such as 15m, 2h, 3d."""
    units = {"m": 60, "h": 3600, "d": 86400}
    if re.fullmatch(r"[0-9]{1,6}[mhd]", text):
        age = int(text[:-1]) * units[text[-1]]
        return datetime.fromtimestamp(now.timestamp() - age, UTC).isoformat()
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is not a time such as 2026-01-31T12:00:00Z, 2h or 3d."
        raise click.UsageError(message) from error
    return time.astimezone(UTC).isoformat()


def _text(value: object) -> str:
    if isinstance(value, dict):
        return printable(", ".join(f"{k}={v}" for k, v in value.items()))
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value)
    return printable("" if value is None else str(value)).replace("\n", " ")


def _show_table(names: list[str], cells: Iterable[list[str]]) -> None:
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console()
    today = f"{datetime.now().astimezone():%Y-%m-%d} "
    lines = [[cell.removeprefix(today) for cell in line] for line in cells]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    columns = zip(names, *lines, strict=True)
    widths = {column[0]: max(map(cell_len, column)) for column in columns}
    # Names and URLs may be shortened; numbers and ids may not.
    fixed = [width for name, width in widths.items() if name not in _ELASTIC]
    room = max(console.width - sum(fixed) - len(names), _MIN_WIDTH)
    for name in names:
        table.add_column(
            name, no_wrap=True, min_width=widths[name] if name not in _ELASTIC else None
        )
    for line in lines:
        shortened = [
            f"…{cell[1 - room :]}" if name in _ELASTIC and len(cell) > room else cell
            for name, cell in zip(names, line, strict=True)
        ]
        table.add_row(*(Text(cell, style=_COLORS.get(cell, "")) for cell in shortened))
    console.print(table)
