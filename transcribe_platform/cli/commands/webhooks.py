"""`transcribe webhooks`: what was sent where, and sending it again."""

from datetime import UTC, datetime
from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.session import Session, common
from transcribe_platform.client.errors import ApiError, Conflict, Erased, NotFound

_STATUSES = ("pending", "delivered", "failed", "discarded")
_DELIVERY: tables.Columns = {
    "id": lambda row: row["id"],
    "status": lambda row: row["status"],
    "type": lambda row: row["type"],
    "job": lambda row: row["job_id"],
    "attempts": lambda row: row["attempts"],
    "created": lambda row: tables.when(row["created_at"]),
    "next": lambda row: tables.when(row["next_attempt_at"]),
}


@click.group("webhooks")
def command() -> None:
    """See what was sent to your endpoints, and send it again."""


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
@click.option("--since", metavar="TIME", help="A time, or so long ago: 15m, 2h, 3d.")
@click.option("--limit", default=20, show_default=True, help="0 is all.")
@common
def list_deliveries(session: Session, *, since: str | None, **named: Any) -> None:
    """List deliveries, newest first."""
    after = tables.moment_of(since, now=datetime.now(UTC)) if since else None
    rows = session.client.webhooks.deliveries(created_after=after, **named)
    tables.show_rows(session, rows, _DELIVERY)


@command.command("replay")
@click.argument("delivery_ids", nargs=-1)
@click.option("--endpoint", "endpoint_id", metavar="ID", help="All that it missed.")
@click.option("--since", metavar="TIME", help="With --endpoint: from when on (2h, 3d).")
@common
def replay(
    session: Session,
    *,
    delivery_ids: tuple[str, ...],
    endpoint_id: str | None,
    since: str | None,
) -> int:
    """Send messages again: deliveries by id, or all that an endpoint has missed."""
    if bool(delivery_ids) == bool(endpoint_id) or bool(since) != bool(endpoint_id):
        raise click.UsageError("Give delivery ids, or --endpoint ID --since TIME.")
    if endpoint_id:
        after = tables.moment_of(str(since), now=datetime.now(UTC))
        recovery = session.client.webhooks.recover(endpoint_id, since=after)
        tables.show_one(session, dict(recovery))
        return Exit.OK
    worst = Exit.OK
    for delivery_id in delivery_ids:
        try:
            again = session.client.webhooks.redeliver(delivery_id)
            tables.show_rows(session, [again], _DELIVERY)
        except (Conflict, Erased, NotFound) as error:
            is_missing = isinstance(error, NotFound)
            worst = Exit.NOT_FOUND if is_missing else Exit.SOME_FAILED
            _say(session, delivery_id, error)
    return worst


def _say(session: Session, delivery_id: str, error: ApiError) -> None:
    if session.as_json:
        said = {"code": error.code, "detail": error.detail}
        session.emit({"type": "error", "delivery_id": delivery_id, "error": said})
    click.echo(f"{delivery_id}: {error}", err=True)
