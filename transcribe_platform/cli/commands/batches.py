"""`transcribe batches`: watch, list, manage, download results."""

from pathlib import Path
from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.bulk import batch_results, batch_run
from transcribe_platform.cli.bulk.outputs import EXTENSIONS
from transcribe_platform.cli.job_options import PRIORITIES
from transcribe_platform.cli.session import Session, common


@click.group("batches")
def command() -> None:
    """Watch, list and manage batches; download their results."""


@command.command("list")
@click.option("--limit", default=20, show_default=True, help="0 for all.")
@common
def list_batches(session: Session, *, limit: int) -> None:
    """List batches, newest first."""
    rows = session.client.batches.iterate(limit=limit)
    tables.show_rows(session, rows, batch_run.COLUMNS)


@command.command("show")
@click.argument("batch_id")
@common
def show_batch(session: Session, *, batch_id: str) -> None:
    """Show all fields of a batch."""
    tables.show_one(session, session.client.batches.get(batch_id))


@command.command("watch")
@click.argument("batch_id")
@common
def watch_batch(session: Session, *, batch_id: str) -> int:
    """Watch a batch until it ends; exit code 1 unless all jobs completed."""
    return batch_run.report_end(session, batch_run.follow(session, batch_id))


def _add_change(verb: str, help_text: str) -> None:
    """Add a command that calls the method of this name and shows the batch."""

    @command.command(verb, help=help_text)
    @click.argument("batch_id")
    @common
    def change(session: Session, *, batch_id: str) -> None:
        _show(session, getattr(session.client.batches, verb)(batch_id))


_add_change("cancel", "Cancel the jobs that have not ended.")
_add_change("pause", "Start no more jobs until the batch is resumed.")
_add_change("resume", "Resume a paused batch.")


@command.command("prioritize")
@click.argument("batch_id")
@click.argument("priority", type=click.Choice(PRIORITIES))
@common
def prioritize_batch(session: Session, *, batch_id: str, priority: str) -> None:
    """Change the priority of the jobs that have not ended."""
    _show(session, session.client.batches.prioritize(batch_id, priority))


@command.command("retry")
@click.argument("batch_id")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(["failed", "expired", "canceled"]),
    default=("failed",),
    show_default=True,
)
@common
def retry_batch(session: Session, *, batch_id: str, statuses: tuple[str, ...]) -> None:
    """Submit failed jobs again, as a new batch."""
    _show(session, session.client.batches.retry(batch_id, statuses))


@command.command("results")
@click.argument("batch_id")
@click.option(
    "-f",
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(sorted(EXTENSIONS)),
    default=("text",),
    show_default=True,
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--parallel", type=click.IntRange(1, 32), default=4, show_default=True)
@common
def fetch_results(session: Session, *, batch_id: str, **named: Any) -> None:
    """Download all transcripts and the lists of results and errors."""
    fetched = batch_results.fetch_results(session, batch_id, **named)
    batch_results.report_fetched(session, fetched)


def _show(session: Session, batch: Any) -> None:
    tables.show_rows(session, [batch], batch_run.COLUMNS)
