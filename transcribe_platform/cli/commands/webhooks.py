"""`transcribe webhooks`: lists deliveries and sends them again."""

from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.session import Session, common

_STATUSES = ("pending", "delivered", "failed", "discarded")
_DELIVERY: tables.Columns = {
    "id": lambda row: row["id"],
    "status": lambda row: row["status"],
    "type": lambda row: row["type"],
    "job": lambda row: row["job_id"],
    "attempts": lambda row: row["attempts"],
    "created": lambda row: tables.format_time(row["created_at"]),
    "next": lambda row: tables.format_time(row["next_attempt_at"]),
}


@click.group("webhooks")
def command() -> None:
    """List webhook deliveries and send them again."""


@command.command("endpoints")
@common
def list_endpoints(session: Session) -> None:
    """List the endpoints."""
    columns: tables.Columns = {
        "id": lambda row: row["id"],
        "url": lambda row: row["url"],
        "enabled": lambda row: "yes" if row["enabled"] else row["disabled_reason"],
        "failures": lambda row: row["failures"],
    }
    tables.show_rows(session, session.client.webhooks.endpoints(), columns)


@command.command("list")
@click.option("--status", type=click.Choice(_STATUSES))
@click.option("--type", "type_", metavar="EVENT", help="job.completed …")
@click.option("--endpoint", "endpoint_id", metavar="ID")
@click.option("--job", "job_id", metavar="ID")
@click.option("--since", type=tables.Time(), help="A time, or an age: 15m, 2h, 3d.")
@click.option("--limit", default=20, show_default=True, help="0 for all.")
@common
def list_deliveries(session: Session, *, since: str | None, **named: Any) -> None:
    """List deliveries, newest first."""
    rows = session.client.webhooks.deliveries(created_after=since, **named)
    tables.show_rows(session, rows, _DELIVERY)


@command.command("replay")
@click.argument("delivery_ids", nargs=-1)
@click.option(
    "--endpoint",
    "endpoint_id",
    metavar="ID",
    help="Send all that this endpoint missed.",
)
@click.option(
    "--since", type=tables.Time(), help="With --endpoint: start time or age (2h, 3d)."
)
@common
def replay(
    session: Session,
    *,
    delivery_ids: tuple[str, ...],
    endpoint_id: str | None,
    since: str | None,
) -> int:
    """Send messages again: deliveries by id, or all that an endpoint missed."""
    if bool(delivery_ids) == bool(endpoint_id) or bool(since) != bool(endpoint_id):
        raise click.UsageError("Specify delivery ids, or --endpoint ID --since TIME.")
    if endpoint_id:
        recovery = session.client.webhooks.recover(endpoint_id, since=str(since))
        tables.show_one(session, dict(recovery))
        return Exit.OK
    redeliver = session.client.webhooks.redeliver
    return tables.apply_to_each(
        session, delivery_ids, redeliver, _DELIVERY, id_name="delivery_id"
    )
