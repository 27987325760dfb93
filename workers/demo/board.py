"""Show the demo: live bars in a terminal, plain lines elsewhere, then a report."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from workers.demo import submission as submissions
from workers.demo.receiver import Received
from workers.demo.submission import DemoSubmission


class Board:
    """Draws the same submissions again and again as they move."""

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

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()  # the last picture stays

    def draw(self) -> None:
        """Show how far everything is."""
        done = {
            "submitted": sum(bool(each.job_id) for each in self._sent),
            "transcribed": sum(each.status == "completed" for each in self._sent),
            "webhooks": sum(each.has_webhook for each in self._sent),
        }
        for name, count in done.items():
            self._bars.update(self._counts[name], completed=count)
        if self._console.is_terminal:
            self._live.update(Group(self._table(), self._bars), refresh=True)
            return
        for each in self._sent:
            if each.job_id and self._shown.get(each.name) != each.status:
                self._shown[each.name] = each.status
                self._say(f"  {each.name:<16} {each.priority:<7} {each.status}")

    def show_webhook(self, received: Received, name: str) -> None:
        """Tell that a webhook came and what its signature was worth."""
        worth = "signature checked" if received.is_genuine else "SIGNATURE INVALID"
        self._say(f"  webhook {received.type} for {name}: {worth}")

    def report(self, *, refusal: str, broken_promises: list[str]) -> None:
        """Print each transcript with its errors, and what did not hold."""
        self._say("")
        for each in self._sent:
            rate = each.word_error_rate
            errors = "no transcript" if rate is None else f"{rate:.1%} word errors"
            self._say(f"{each.name} ({', '.join(each.recording.voices)}): {errors}")
            for line in each.heard:
                self._say(f"  {line}")
            if each.is_refused_twice:
                self._say(f"  (met two 503s: {each.attempts} attempts)")
        pooled = submissions.pooled_word_error_rate(self._sent)
        self._say(f"\nword error rate over all files: {pooled:.1%}")
        self._say(f"the file that is no audio was answered: {refusal or 'ACCEPTED'}")
        for sentence in broken_promises:
            self._console.print(f"[red]NOT HELD: {escape(sentence)}[/]")

    def _table(self) -> Table:
        table = Table("file", "priority", "status", "attempts", "webhook", box=None)
        for each in self._sent:
            webhook = "signed" if each.is_genuine else ""
            attempts = str(each.attempts or "")
            table.add_row(each.name, each.priority, each.status, attempts, webhook)
        return table

    def _say(self, line: str) -> None:
        self._console.print(escape(line), highlight=False, soft_wrap=True)
