"""`transcribe` where a batch is meant: a manifest, or URLs with `--batch NAME`."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from transcribe_platform.cli.bulk import batch_results, batch_run
from transcribe_platform.cli.bulk.journal import Journal
from transcribe_platform.cli.bulk.pipeline import Plan
from transcribe_platform.cli.bulk.sources import Kind, Source
from transcribe_platform.cli.session import Session


def is_meant(found: Sequence[Source], *, label: str | None) -> bool:
    """Tell whether these become a batch; raises UsageError for an odd mixture."""
    manifests = [source for source in found if source.kind is Kind.MANIFEST]
    if manifests and len(found) > 1:
        message = (
            "A manifest stands alone: one command for each, and none for the rest."
        )
        raise click.UsageError(message)
    if label is not None and any(source.kind is Kind.FILE for source in found):
        message = "A batch is made of URLs or of a manifest; files go up one by one."
        raise click.UsageError(message)
    return bool(manifests) or label is not None


def run(
    session: Session,
    found: Sequence[Source],
    plan: Plan,
    journal: Journal,
    named: Mapping[str, Any],
) -> int:
    """Submit the batch, follow it, fetch its results; return the exit code."""
    label, is_old = named["batch"] or "", False
    if found[0].kind is Kind.MANIFEST:
        settings = batch_run.settings_of(
            plan.request, label=label, skips_bad_lines=named["skip_bad_lines"]
        )
        batch, is_old = batch_run.submit_manifest(session, found[0], journal, settings)
    else:
        batch = batch_run.submit_urls(session, found, plan.request, label)
    batch_id = batch["id"]
    if session.as_json:
        session.emit({"type": "submitted", "batch_id": batch_id, "resumed": is_old})
    elif not plan.is_waiting:
        session.write(batch_id)
    else:
        session.hint(
            f"Batch {batch_id}; to follow it from anywhere: "
            f"transcribe batches watch {batch_id}"
        )
    if not plan.is_waiting:
        return 0
    try:
        code = batch_run.say_end(session, batch_run.follow(session, batch_id))
        if plan.out:
            fetched = batch_results.fetch_results(
                session,
                batch_id,
                out=plan.out,
                formats=plan.formats,
                parallel=plan.parallel,
            )
            batch_results.say_fetched(session, fetched)
    except KeyboardInterrupt:
        session.say("Stopped; the batch goes on. The same command follows it again.")
        raise
    return code
