"""Progress bars at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

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

from transcribe_platform.cli.session import Session
from transcribe_platform.cli.tables import format_duration

_MIB = 1024**2


class Bars:
    """Two bars: bytes uploaded and jobs ended."""

    def __init__(self, progress: Progress, *, total: int, total_bytes: int) -> None:
        self._failed = 0
        self._progress = progress
        self._upload = progress.add_task(
            "upload", total=total_bytes, visible=total_bytes > 0, unit="bytes"
        )
        self._jobs = progress.add_task("transcribe", total=total, unit="jobs")

    def sent(self, number: int) -> None:
        """Count uploaded bytes."""
        self._progress.advance(self._upload, number)

    def ended(self, *, is_success: bool) -> None:
        """Count an ended job."""
        self._failed += not is_success
        self._progress.update(self._jobs, advance=1, failed=self._failed)


class _Amount(ProgressColumn):
    """Completed and total amount, in the task's unit."""

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
    """The remaining time, or the elapsed time at the end."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return TimeElapsedColumn().render(task)
        label = Text("ETA ", style="cyan")
        if task.fields["unit"] == "bytes":
            return label + super().render(task)
        remaining = task.fields.get("eta")  # the estimate of the platform for a batch
        if remaining is None and task.completed and task.elapsed:
            # Rich ignores the time before the first completed job.
            remaining = task.elapsed / task.completed * (task.remaining or 0)
        shown = "-:--:--" if remaining is None else format_duration(remaining)
        return label + Text(shown, style="progress.remaining")


@contextmanager
def show_progress(session: Session) -> Iterator[Progress]:
    """Yield bars with description, amount and remaining time.

    They are shown only if the session shows progress; then messages of the session are
    printed above them.
    """
    progress = Progress(
        TextColumn("{task.description:10}"),
        BarColumn(bar_width=None),
        _Amount(),
        _Remaining(),
        console=Console(stderr=True),
        expand=True,
        # A transcript takes minutes; Rich estimates speed over 30 s by default.
        speed_estimate_period=300,
        redirect_stdout=False,  # Session prints above the bars
        redirect_stderr=False,
    )
    if not session.shows_progress:
        yield progress
        return

    def put(text: str) -> None:
        progress.console.print(Text.from_ansi(text), soft_wrap=True)

    session.print_above_bars = put
    try:
        with progress:
            yield progress
    finally:
        session.print_above_bars = None
