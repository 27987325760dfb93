"""`transcribe usage`: usage, costs and quotas."""

from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.session import Session, common

_GROUPS = ("day", "model", "region", "key", "batch")
_SUMS: tables.Columns = {
    "jobs": lambda row: row["jobs"],
    "calls": lambda row: row["calls"],
    "failed": lambda row: row["failed_calls"],
    "audio": lambda row: tables.format_duration(row["audio_seconds"]),
    "cost": lambda row: row["cost_estimate"],
}


@click.command("usage")
@click.option("--since", metavar="DAY", help="First UTC day: 2026-01-31.")
@click.option("--until", metavar="DAY", help="Last UTC day; default: today.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(_GROUPS),
    default=("day",),
    help="Group by.",
)
@click.option("--quotas", is_flag=True, help="Show the quotas instead.")
@common
def command(
    session: Session,
    *,
    since: str | None,
    until: str | None,
    by: tuple[str, ...],
    quotas: bool,
) -> None:
    """Show usage, by default of this month; costs are estimates."""
    if quotas:
        _show_quotas(session)
        return
    report = session.client.usage.report(since=since, until=until, group_by=by)
    if session.as_json:
        session.emit(report)
        return
    total: dict[str, Any] = {**dict.fromkeys(by, ""), **report["totals"]}
    total[by[0]] = "total"
    names: tables.Columns = {name: _column(name) for name in by}
    tables.show_rows(session, [*report["data"], total], {**names, **_SUMS})


def _column(name: str) -> Any:
    return lambda row: row.get(name)


def _show_quotas(session: Session) -> None:
    columns: dict[str, Any] = {
        name: _column(name) for name in ("name", "limit", "used", "remaining")
    }
    columns["limit"] = lambda row: "none" if row["limit"] is None else row["limit"]
    tables.show_rows(session, session.client.usage.quotas(), columns)
