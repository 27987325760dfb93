"""Progress at a terminal: what has been sent, what is done, how long it will take."""

import sys
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from transcribe_platform.cli.tables import length

_MIB = 1024**2


class Shown(Protocol):
    """What is told of a run's progress, from any thread."""

    def sent(self, number: int) -> None:
        """Count bytes that have left."""

    def submitted(self) -> None:
        """Count a source that the platform has."""

    def ended(self, *, is_good: bool) -> None:
        """Count a source that is done with."""

    def start(self) -> None:
        """Begin to show."""

    def stop(self) -> None:
        """Show no more."""


class Silence:
    """Nobody looks."""

    def sent(self, number: int) -> None:
        """Say nothing."""

    def submitted(self) -> None:
        """Say nothing."""

    def ended(self, *, is_good: bool) -> None:
        """Say nothing."""

    def start(self) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


class Bars:
    """Two bars: bytes up, then transcripts done."""

    def __init__(self, *, total: int, total_bytes: int, console: Console) -> None:
        self._failed = 0
        self._progress = build_progress(console)
        self._upload = self._progress.add_task(
            "upload", total=total_bytes, visible=total_bytes > 0, unit="bytes"
        )
        self._jobs = self._progress.add_task("transcribe", total=total, unit="jobs")

    def sent(self, number: int) -> None:
        """Count bytes."""
        self._progress.advance(self._upload, number)

    def submitted(self) -> None:
        """Say nothing: the bytes tell."""

    def ended(self, *, is_good: bool) -> None:
        """Count a job."""
        self._failed += not is_good
        self._progress.update(self._jobs, advance=1, failed=self._failed)

    def start(self) -> None:
        """Show the bars."""
        self._progress.start()

    def stop(self) -> None:
        """Leave them as they are."""
        self._progress.stop()


class _Amount(ProgressColumn):
    """How much of how much, in the task's own unit."""

    def render(self, task: Task) -> Text:
        total = task.total or 0
        if task.fields["unit"] == "bytes":
            shown = f"{task.completed / _MIB:,.1f}/{total / _MIB:,.1f} MiB"
            if task.speed and not task.finished:
                shown += f" {task.speed / _MIB:,.1f} MiB/s"
            return Text(shown)
        text = Text(f"{task.completed:,.0f}/{total:,.0f}")
        if failed := task.fields.get("failed"):
            text.append(f" ({failed:,} failed)", style="red")
        return text


class _Remaining(TimeRemainingColumn):
    """The time that is left, or that it took."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return TimeElapsedColumn().render(task)
        label = Text("ETA ", style="cyan")
        if (known := task.fields.get("eta")) is not None:  # the platform knows better
            return label + Text(length(known), style="progress.remaining")
        return label + super().render(task)


def build_progress(console: Console) -> Progress:
    """Return bars that say a name, how far, how much and how long."""
    return Progress(
        TextColumn("{task.description:10}"),
        BarColumn(bar_width=None),
        _Amount(),
        _Remaining(),
        console=console,
        expand=True,
        # A transcript takes minutes: half a minute of history would know no speed.
        speed_estimate_period=300,
        # What is printed meanwhile stands above the bars, if it goes to a terminal.
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=True,
    )
