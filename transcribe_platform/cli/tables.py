"""Output of rows: a table at a terminal, tab-separated columns in a pipe."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.session import Session, printable
from transcribe_platform.client.errors import Conflict, Erased, NotFound

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


def apply_to_each(
    session: Session,
    ids: Sequence[str],
    action: Callable[[str], Any],
    columns: Columns,
    *,
    id_name: str,
) -> int:
    """Apply the action to each id, continuing after errors; return the exit code."""
    exit_code = Exit.OK
    for each in ids:
        try:
            show_rows(session, [action(each)], columns)
        except (Conflict, Erased, NotFound) as error:
            is_missing = isinstance(error, NotFound)
            exit_code = Exit.NOT_FOUND if is_missing else Exit.SOME_FAILED
            if session.as_json:
                problem = {"code": error.code, "detail": error.detail}
                session.emit({"type": "error", id_name: each, "error": problem})
            click.echo(f"{each}: {error}", err=True)
    return exit_code


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


class Time(click.ParamType):  # type: ignore[type-arg]  # not in click 8.1
    """A time or an age such as 15m, 2h or 3d; an ISO time for the API."""

    name = "time"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the ISO time; an invalid one is a usage error."""
        units = {"m": 60, "h": 3600, "d": 86400}
        if re.fullmatch(r"[0-9]{1,6}[mhd]", value):
            age = timedelta(seconds=int(value[:-1]) * units[value[-1]])
            return (datetime.now(UTC) - age).isoformat()
        try:
            return datetime.fromisoformat(value).astimezone(UTC).isoformat()
        except ValueError:
            message = f"{value!r} is not a time such as 2026-01-31T12:00:00Z, 2h or 3d."
            self.fail(message, param, ctx)


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
