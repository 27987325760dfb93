"""`transcribe FILE… | FOLDER | PATTERN | URL… | MANIFEST`: the default command."""

import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from transcribe_platform.cli import config, job_options
from transcribe_platform.cli.bulk import batch_command, sources
from transcribe_platform.cli.bulk.journal import SubmissionJournal
from transcribe_platform.cli.bulk.outputs import EXTENSIONS
from transcribe_platform.cli.bulk.pipeline import Pipeline, Plan
from transcribe_platform.cli.bulk.progress import Bars, show_progress
from transcribe_platform.cli.bulk.report import Download, Report
from transcribe_platform.cli.bulk.sources import Source, SourceKind
from transcribe_platform.cli.exit_codes import Exit
from transcribe_platform.cli.session import Session, common
from transcribe_platform.client.errors import ClientError
from transcribe_platform.client.shapes import Job

_PARALLEL = 4
_SHOWN_SKIPPED = 20


class _Listener:
    """Passes outcomes to the report and the progress bars."""

    def __init__(self, report: Report, bars: Bars, *, waits: bool) -> None:
        self._report, self._bars, self._waits = report, bars, waits

    def submitted(self, source: Source, job: Job, *, is_resumed: bool) -> None:
        self._report.submitted(source, job, is_resumed=is_resumed)
        if not self._waits:
            self._bars.ended(is_success=True)

    def completed(self, source: Source, job: Job, result: Download) -> None:
        self._report.completed(source, job, result)
        self._bars.ended(is_success=True)

    def failed(self, source: Source, error: Exception, job: Job | None = None) -> None:
        self._report.failed(source, error, job)
        self._bars.ended(is_success=False)


@click.command("files", short_help="Transcribe files, folders, URLs or a manifest.")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN|URL…")
@click.option(
    "-f",
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(sorted(EXTENSIONS)),
    help="Format of the results; repeatable. Default: text.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results; they are printed without it.",
)
@click.option(
    "--wait/--no-wait",
    "waits",
    default=True,
    help="Wait for the results, or only print the job ids.",
)
@click.option(
    "--batch", metavar="NAME", help="Submit the URLs as one batch with this name."
)
@click.option(
    "--skip-bad-lines", is_flag=True, help="Run the valid lines of a manifest."
)
@click.option(
    "--again",
    is_flag=True,
    help="Create new jobs even if the audio was submitted before.",
)
@click.option("--retry-failed", is_flag=True, help="Retry jobs that failed before.")
@click.option(
    "--parallel",
    type=click.IntRange(1, 32),
    default=_PARALLEL,
    show_default=True,
    help="Number of concurrent uploads and downloads.",
)
@job_options.request_options
@common
def command(session: Session, *, inputs: tuple[str, ...], **named: Any) -> int:
    """Transcribe files, folders (audio in them), patterns, URLs.

    Results are printed as jobs complete, or written to the folder `--out`. After
    Ctrl-C, run the same command to resume: no audio is uploaded or transcribed twice.
    """
    skipped: list[Path] = []
    found = sources.find_sources(inputs, skipped=skipped)
    _report_skipped(session, skipped)
    plan = _build_plan(named)
    journal = SubmissionJournal(config.state_folder(os.environ), session.client)
    if batch_command.is_batch(found, label=named["batch"]):
        return batch_command.run(session, found, plan, journal, named)
    report = Report(session, total=len(found), is_waiting=plan.is_waiting)
    try:
        with show_progress(session) as progress:
            files = [source for source in found if source.kind is SourceKind.FILE]
            bytes_to_send = sum(source.size_bytes for source in files)
            bars = Bars(progress, total=len(found), total_bytes=bytes_to_send)
            Pipeline(
                session=session,
                plan=plan,
                journal=journal,
                listener=_Listener(report, bars, waits=plan.is_waiting),
                on_bytes_sent=bars.sent,
            ).run(found)
    except KeyboardInterrupt:
        _report_stopped(session, report)
        raise
    except ClientError:
        report.summarize()
        raise
    report.summarize()
    return Exit.SOME_FAILED if report.tally.failed else Exit.OK


def _report_skipped(session: Session, skipped: Sequence[Path]) -> None:
    """List the files of a folder that are not sent."""
    if skipped:
        names = ", ".join(map(str, skipped[:_SHOWN_SKIPPED]))
        more = len(skipped) - _SHOWN_SKIPPED
        rest = f" and {more} more" if more > 0 else ""
        session.inform(f"Skipped, not audio by name: {names}{rest}")


def _build_plan(named: dict[str, Any]) -> Plan:
    out, formats, waits = named["out"], named["formats"], named["waits"]
    if out is None and len(formats) > 1:
        raise click.UsageError("Several formats need a folder: --out DIR")
    if not waits and (out or formats):
        raise click.UsageError("--no-wait cannot be combined with --out or --format.")
    return Plan(
        request=job_options.build_request(
            named, nonce=secrets.token_hex(8) if named["again"] else ""
        ),
        formats=formats or ("text",),
        out=out,
        is_waiting=waits,
        retries_failed=named["retry_failed"],
        parallel=named["parallel"],
    )


def _report_stopped(session: Session, report: Report) -> None:
    """Report the progress; submitted jobs continue."""
    tally = report.tally
    with suppress(BrokenPipeError):
        report.summarize()
        session.inform(
            f"Stopped: {tally.submitted} of {tally.total} submitted, "
            f"{tally.completed} completed. Run the same command to resume."
        )
