"""Displays the demo: live bars at a terminal, or lines; then a report."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from workers.demo import submission as submissions
from workers.demo.receiver import Received
from workers.demo.submission import DemoSubmission


class ProgressBoard:
    """Displays the progress of the submissions."""

    def __init__(self, console: Console, sent: list[DemoSubmission]) -> None:
        self._console = console
        self._sent = sent
        self._shown: dict[str, str] = {}
        self._bars = Progress(
            TextColumn("  {task.description:<12}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            console=console,
        )
        self._counts = {
            name: self._bars.add_task(name, total=len(sent))
            for name in ("submitted", "transcribed", "webhooks")
        }
        self._live = Live(console=console, auto_refresh=False)

    @contextmanager
    def shown(self) -> Iterator[Self]:
        """Show the progress bars while the block runs; the last frame stays."""
        if self._console.is_terminal:
            self._live.start()
        try:
            yield self
        finally:
            self._live.stop()

    def draw(self) -> None:
        """Show the progress."""
        done = {
            "submitted": sum(bool(submission.job_id) for submission in self._sent),
            "transcribed": sum(
                submission.status == "completed" for submission in self._sent
            ),
            "webhooks": sum(submission.has_webhook for submission in self._sent),
        }
        for name, count in done.items():
            self._bars.update(self._counts[name], completed=count)
        if self._console.is_terminal:
            self._live.update(Group(self._table(), self._bars), refresh=True)
            return
        for submission in self._sent:
            if (
                submission.job_id
                and self._shown.get(submission.name) != submission.status
            ):
                self._shown[submission.name] = submission.status
                name, priority = submission.name, submission.priority
                self._print(f"  {name:<16} {priority:<7} {submission.status}")

    def show_webhook(self, received: Received, name: str) -> None:
        """Show a received webhook and whether its signature is valid."""
        validity = "signature valid" if received.is_genuine else "SIGNATURE INVALID"
        self._print(f"  webhook {received.type} for {name}: {validity}")

    def report(self, *, refusal: str, failed_checks: list[str]) -> None:
        """Print the transcripts with their error rates, and the failed checks."""
        self._print("")
        for submission in self._sent:
            rate = submission.word_error_rate
            errors = "no transcript" if rate is None else f"{rate:.1%} word errors"
            if not submission.recording.is_judged:
                errors = "not compared"
            voices = ", ".join(submission.recording.voices)
            self._print(f"{submission.name} ({voices}): {errors}")
            for line in submission.transcripts:
                self._print(f"  {line}")
            if submission.is_refused_twice:
                self._print(f"  (after two 503s: {submission.attempts} attempts)")
        pooled = submissions.pooled_word_error_rate(self._sent)
        self._print(f"\nword error rate over all files: {pooled:.1%}")
        self._print(f"response to the invalid file: {refusal or 'ACCEPTED'}")
        for sentence in failed_checks:
            self._console.print(f"[red]FAILED: {escape(sentence)}[/]")

    def _table(self) -> Table:
        table = Table("file", "priority", "status", "attempts", "webhook", box=None)
        for submission in self._sent:
            webhook = "signed" if submission.is_genuine else ""
            attempts = str(submission.attempts or "")
            table.add_row(
                submission.name,
                submission.priority,
                submission.status,
                attempts,
                webhook,
            )
        return table

    def _print(self, line: str) -> None:
        self._console.print(escape(line), highlight=False, soft_wrap=True)
