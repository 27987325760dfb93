"""Submit a manifest or many URLs as one batch, and follow a batch to its end."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from transcribe_platform.cli import tables
from transcribe_platform.cli.bulk import progress as bars
from transcribe_platform.cli.bulk.journal import URL_SECONDS, Journal
from transcribe_platform.cli.bulk.sources import Source
from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.session import Session
from transcribe_platform.client import AudioFile, JobRequest
from transcribe_platform.client.batches import ManifestSettings
from transcribe_platform.client.errors import NotFound
from transcribe_platform.client.shapes import Batch

MAX_URLS = 1000  # more of them want a manifest


def submit_urls(
    session: Session, urls: Sequence[Source], request: JobRequest, label: str
) -> Batch:
    """Submit URLs as one batch."""
    if len(urls) > MAX_URLS:
        message = f"More than {MAX_URLS} URLs: put them into a manifest."
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
    journal: Journal,
    settings: ManifestSettings,
) -> tuple[Batch, bool]:
    """Upload a manifest and return its batch, and whether it was there before."""
    manifest = AudioFile.read(source.path)
    key = f"{manifest.sha256} {settings.params()} {settings.nonce}"
    batch_id = journal.find(key, younger_than=URL_SECONDS)
    if batch_id:
        try:
            return session.client.batches.get(batch_id), True
        except NotFound:
            pass
    with _upload_bar(session, manifest) as sent:
        batch = session.client.batches.submit_manifest(
            manifest, settings, progress=sent
        )
    journal.keep(key, batch["id"])
    return batch, False


def settings_of(
    request: JobRequest, *, label: str, skips_bad_lines: bool
) -> ManifestSettings:
    """Return what holds for all lines of a manifest."""
    fields = request.fields()
    of_batch = {"callback_url", "expires_in_seconds"}
    return ManifestSettings(
        defaults={name: fields[name] for name in fields if name not in of_batch},
        metadata={"name": label} if label else {},
        callback_url=request.callback_url,
        expires_in_seconds=request.expires_in_seconds,
        skips_bad_lines=skips_bad_lines,
        nonce=request.nonce,
    )


def follow(session: Session, batch_id: str) -> Batch:
    """Show a batch until it ends, and return it as it is then."""
    progress = bars.build_progress()
    shown = session.shows_progress
    if shown:
        bars.show(session, progress)
    task = progress.add_task("transcribe", total=None, unit="jobs")
    try:
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
    finally:
        if shown:
            bars.hide(session, progress)
    return last


def say_end(session: Session, batch: Batch) -> int:
    """Tell how a batch ended and return the exit code of that."""
    if session.as_json:
        session.emit({"type": "batch", **batch})
    else:
        tables.show_rows(session, [batch], COLUMNS)
    counts, skipped = batch["counts"], batch.get("skipped", 0)
    if skipped and not session.as_json:
        session.say(
            f"{skipped} bad lines were left out: see errors.jsonl of the results."
        )
    is_all_done = counts["completed"] == counts["total"] and not skipped
    return Exit.OK if is_all_done else Exit.SOME_FAILED


def _count(*names: str) -> Any:
    return lambda batch: sum(batch["counts"].get(name, 0) for name in names)


COLUMNS: tables.Columns = {
    "id": lambda batch: batch["id"],
    "status": lambda batch: batch["status"],
    "total": _count("total"),
    "done": _count("completed"),
    "failed": _count("failed", "expired"),
    "canceled": _count("canceled"),
    "created": lambda batch: tables.when(batch["created_at"]),
    "left": lambda batch: tables.length(batch.get("eta_seconds")),
    "cost": lambda batch: batch.get("cost_estimate"),
}


@contextmanager
def _upload_bar(session: Session, manifest: AudioFile) -> Iterator[Any]:
    if not session.shows_progress:
        yield None
        return
    with bars.build_progress() as progress:
        task = progress.add_task("upload", total=manifest.size_bytes, unit="bytes")
        yield lambda number: progress.advance(task, number)
