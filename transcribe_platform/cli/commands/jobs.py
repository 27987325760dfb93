"""`transcribe jobs`: list, show, cancel, retry."""

from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.job_options import PRIORITIES, split_pairs
from transcribe_platform.cli.session import Session, common
from transcribe_platform.client.shapes import Job

STATUSES = ("queued", "processing", "completed", "failed", "canceled", "expired")


def _get_name(job: Job) -> str:
    audio = job["audio"]
    return str(audio.get("filename") or audio.get("url") or "")


_COLUMNS: tables.Columns = {
    "id": lambda job: job["id"],
    "status": lambda job: job["status"],
    "created": lambda job: tables.format_time(job["created_at"]),
    "length": lambda job: tables.format_duration(job["duration_seconds"]),
    "audio": _get_name,
    "error": lambda job: (job["error"] or {}).get("code"),
}


@click.group("jobs")
def command() -> None:
    """List, show, cancel and retry jobs."""


@command.command("list")
@click.option("--status", type=click.Choice(STATUSES))
@click.option("--batch", "batch_id", metavar="ID")
@click.option("--custom-id", metavar="TEXT", help="Your id of the job in its batch.")
@click.option("--mode", type=click.Choice(("async", "sync", "live")))
@click.option("--region", metavar="NAME")
@click.option("--error-code", metavar="CODE")
@click.option("--priority", type=click.Choice(PRIORITIES))
@click.option("--since", type=tables.Time(), help="A time, or an age: 15m, 2h, 3d.")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE")
@click.option("--limit", default=20, show_default=True, help="0 for all.")
@common
def list_jobs(session: Session, *, since: str | None, **named: Any) -> None:
    """List jobs, newest first."""
    named["metadata"] = dict(split_pairs(named["metadata"], "--metadata"))
    rows = session.client.jobs.iterate(created_after=since, **named)
    tables.show_rows(session, rows, _COLUMNS)


@command.command("show")
@click.argument("job_id")
@click.option("--attempts", is_flag=True, help="Show the calls to Deepgram instead.")
@common
def show_job(session: Session, *, job_id: str, attempts: bool) -> None:
    """Show all fields of a job."""
    if not attempts:
        tables.show_one(session, session.client.jobs.get(job_id))
        return
    columns: tables.Columns = {
        "started": lambda row: tables.format_time(row["started_at"]),
        "outcome": lambda row: row["outcome"],
        "region": lambda row: row["region"],
        "seconds": lambda row: row["audio_seconds"],
        "cost": lambda row: row["cost_estimate"],
        "error": lambda row: row["error_code"],
    }
    tables.show_rows(session, session.client.jobs.attempts(job_id), columns)


@command.command("cancel")
@click.argument("job_ids", nargs=-1, required=True)
@common
def cancel_jobs(session: Session, *, job_ids: tuple[str, ...]) -> int:
    """Cancel jobs; running calls are abandoned."""
    return _apply(session, job_ids, session.client.jobs.cancel)


@command.command("retry")
@click.argument("job_ids", nargs=-1, required=True)
@common
def retry_jobs(session: Session, *, job_ids: tuple[str, ...]) -> int:
    """Submit ended jobs again, each as one new job; idempotent."""
    return _apply(session, job_ids, session.client.jobs.retry)


def _apply(session: Session, ids: tuple[str, ...], action: Any) -> int:
    return tables.apply_to_each(session, ids, action, _COLUMNS, id_name="job_id")
