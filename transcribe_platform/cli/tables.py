"""Rows for people: a table at a terminal, tabs between columns in a pipe."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from transcribe_platform.cli.session import Session, printable

Columns = Mapping[str, Callable[[Any], object]]
_COLORS = {
    "completed": "green",
    "delivered": "green",
    "failed": "red",
    "expired": "red",
    "discarded": "red",
    "processing": "cyan",
}


def show_rows(session: Session, rows: Iterable[Any], columns: Columns) -> None:
    """Show each row: as JSON whole, else the columns."""
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
    """Show all of one thing."""
    if session.as_json:
        session.emit(row)
        return
    width = max(len(name) for name in row)
    for name, value in row.items():
        if value not in (None, {}, [], ""):
            click.echo(f"{name:{width}}  {_text(value)}")


def when(text: str | None) -> str:
    """Return a time of the API as people read it, in their own zone."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text)
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def length(seconds: float | None) -> str:
    """Return a stretch of time as people read it."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def moment_of(text: str, *, now: datetime) -> str:
    """Return a time for the API: as it is, or so long ago (15m, 2h, 3d)."""
    units = {"m": 60, "h": 3600, "d": 86400}
    if text[:-1].isdigit() and text[-1:] in units:
        ago = int(text[:-1]) * units[text[-1]]
        return datetime.fromtimestamp(now.timestamp() - ago, UTC).isoformat()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is no time such as 2026-01-31T12:00:00Z, 2h or 3d."
        raise click.UsageError(message) from error
    return moment.astimezone(UTC).isoformat()


def _text(value: object) -> str:
    if isinstance(value, dict):
        return printable(", ".join(f"{k}={v}" for k, v in value.items()))
    if isinstance(value, list):
        return ", ".join(_text(each) for each in value)
    return printable("" if value is None else str(value)).replace("\n", " ")


def _show_table(names: list[str], cells: Iterable[list[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        # An id is there to be copied.
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    for line in cells:
        table.add_row(*(Text(cell, style=_COLORS.get(cell, "")) for cell in line))
    Console().print(table)
