"""`transcribe` for a batch: a manifest, or URLs with `--batch NAME`."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from transcribe_platform.cli.bulk import batch_results, batch_run
from transcribe_platform.cli.bulk.journal import SubmissionJournal
from transcribe_platform.cli.bulk.pipeline import Plan
from transcribe_platform.cli.bulk.sources import Source, SourceKind
from transcribe_platform.cli.session import Session


def is_batch(sources: Sequence[Source], *, label: str | None) -> bool:
    """Return whether the sources form a batch; raises UsageError for a mixture."""
    manifests = [source for source in sources if source.kind is SourceKind.MANIFEST]
    if manifests and len(sources) > 1:
        message = (
            "A manifest cannot be combined with other sources: use one command each."
        )
        raise click.UsageError(message)
    if label is not None and any(source.kind is SourceKind.FILE for source in sources):
        message = "A batch needs URLs or a manifest; files are uploaded one by one."
        raise click.UsageError(message)
    return bool(manifests) or label is not None


def run(
    session: Session,
    sources: Sequence[Source],
    plan: Plan,
    journal: SubmissionJournal,
    named: Mapping[str, Any],
) -> int:
    """Submit the batch, watch it, download its results; return the exit code."""
    label, is_old = named["batch"] or "", False
    if sources[0].kind is SourceKind.MANIFEST:
        settings = batch_run.build_settings(
            plan.request, label=label, skips_bad_lines=named["skip_bad_lines"]
        )
        batch, is_old = batch_run.submit_manifest(
            session, sources[0], journal, settings
        )
    else:
        batch = batch_run.submit_urls(session, sources, plan.request, label)
    batch_id = batch["id"]
    if session.as_json:
        session.emit({"type": "submitted", "batch_id": batch_id, "resumed": is_old})
    elif not plan.is_waiting:
        session.write(batch_id)
    else:
        session.hint(
            f"Batch {batch_id}. To watch it from another terminal: "
            f"transcribe batches watch {batch_id}"
        )
    if not plan.is_waiting:
        return 0
    try:
        code = batch_run.report_end(session, batch_run.follow(session, batch_id))
        if plan.out:
            fetched = batch_results.fetch_results(
                session,
                batch_id,
                out=plan.out,
                formats=plan.formats,
                parallel=plan.parallel,
            )
            batch_results.report_fetched(session, fetched)
    except KeyboardInterrupt:
        session.inform(
            "Stopped; the batch continues. Run the same command to watch it again."
        )
        raise
    return code
