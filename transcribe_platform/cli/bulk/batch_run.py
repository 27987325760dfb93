"""Submits a manifest or URLs as one batch, and watches a batch until it ends."""

from collections.abc import Sequence
from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.bulk.journal import URL_SECONDS, SubmissionJournal
from transcribe_platform.cli.bulk.progress import show_progress
from transcribe_platform.cli.bulk.sources import Source
from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.session import Session
from transcribe_platform.client import AudioFile, JobRequest
from transcribe_platform.client.batches import ManifestSettings
from transcribe_platform.client.errors import NotFound
from transcribe_platform.client.shapes import Batch

MAX_URLS = 1000  # the API's limit; larger batches need a manifest


def submit_urls(
    session: Session, urls: Sequence[Source], request: JobRequest, label: str
) -> Batch:
    """Submit URLs as one batch."""
    if len(urls) > MAX_URLS:
        message = f"A batch has at most {MAX_URLS} URLs: use a manifest for more."
        raise click.UsageError(message)
    fields = request.fields()
    defaults = {name: fields[name] for name in fields if name not in {"callback_url"}}
    return session.client.batches.submit(
        [{"audio_url": url.name} for url in urls],
        defaults=defaults,
        metadata={"name": label} if label else None,
        callback_url=request.callback_url,
        nonce=request.nonce,
    )


def submit_manifest(
    session: Session,
    source: Source,
    journal: SubmissionJournal,
    settings: ManifestSettings,
) -> tuple[Batch, bool]:
    """Upload a manifest; return its batch, and whether it existed before."""
    manifest = AudioFile.read(source.path)
    key = f"{manifest.sha256} {settings.params()} {settings.nonce}"
    batch_id = journal.find(key, younger_than=URL_SECONDS)
    if batch_id:
        try:
            return session.client.batches.get(batch_id), True
        except NotFound:
            pass
    with show_progress(session) as progress:
        task = progress.add_task("upload", total=manifest.size_bytes, unit="bytes")
        batch = session.client.batches.submit_manifest(
            manifest,
            settings,
            progress=lambda number: progress.advance(task, number),
        )
    journal.record(key, batch["id"])
    return batch, False


def build_settings(
    request: JobRequest, *, label: str, skips_bad_lines: bool
) -> ManifestSettings:
    """Return the settings for all lines of a manifest."""
    fields = request.fields()
    batch_fields = {"callback_url", "expires_in_seconds"}
    return ManifestSettings(
        defaults={name: fields[name] for name in fields if name not in batch_fields},
        metadata={"name": label} if label else {},
        callback_url=request.callback_url,
        expires_in_seconds=request.expires_in_seconds,
        skips_bad_lines=skips_bad_lines,
        nonce=request.nonce,
    )


def follow(session: Session, batch_id: str) -> Batch:
    """Show the progress of a batch until it ends, and return the batch."""
    with show_progress(session) as progress:
        task = progress.add_task("transcribe", total=None, unit="jobs")
        for batch in session.client.batches.watch(batch_id, sleep=session.pause):
            counts = batch["counts"]
            progress.update(
                task,
                total=counts["total"],
                completed=counts["total"] - counts["open"],
                failed=counts["failed"] + counts["expired"] + counts["canceled"],
                eta=batch.get("eta_seconds"),
                description=batch["status"],
            )
            last = batch
    return last


def report_end(session: Session, batch: Batch) -> int:
    """Report how a batch ended and return the exit code."""
    if session.as_json:
        session.emit({"type": "batch", **batch})
    else:
        tables.show_rows(session, [batch], COLUMNS)
    counts, skipped = batch["counts"], batch.get("skipped", 0)
    if skipped and not session.as_json:
        session.inform(
            f"{skipped} bad lines were skipped: see errors.jsonl in the results."
        )
    is_completed = counts["completed"] == counts["total"] and not skipped
    return Exit.OK if is_completed else Exit.SOME_FAILED


def _count(*names: str) -> Any:
    return lambda batch: sum(batch["counts"].get(name, 0) for name in names)


COLUMNS: tables.Columns = {
    "id": lambda batch: batch["id"],
    "status": lambda batch: batch["status"],
    "total": _count("total"),
    "done": _count("completed"),
    "failed": _count("failed", "expired"),
    "canceled": _count("canceled"),
    "created": lambda batch: tables.format_time(batch["created_at"]),
    "left": lambda batch: tables.format_duration(batch.get("eta_seconds")),
    "cost": lambda batch: batch.get("cost_estimate"),
}
