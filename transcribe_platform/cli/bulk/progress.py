"""Progress at a terminal: what has been sent, what is done, how long it will take."""

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
from transcribe_platform.cli.tables import length

_MIB = 1024**2


class Silence:
    """Nobody looks."""

    def sent(self, number: int) -> None:
        """Say nothing."""

    def ended(self, *, is_good: bool) -> None:
        """Say nothing."""

    def start(self) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


class Bars:
    """Two bars: bytes up, then transcripts done."""

    def __init__(self, session: Session, *, total: int, total_bytes: int) -> None:
        self._failed = 0
        self._session = session
        self._progress = build_progress()
        self._upload = self._progress.add_task(
            "upload", total=total_bytes, visible=total_bytes > 0, unit="bytes"
        )
        self._jobs = self._progress.add_task("transcribe", total=total, unit="jobs")

    def sent(self, number: int) -> None:
        """Count bytes."""
        self._progress.advance(self._upload, number)

    def ended(self, *, is_good: bool) -> None:
        """Count a job."""
        self._failed += not is_good
        self._progress.update(self._jobs, advance=1, failed=self._failed)

    def start(self) -> None:
        """Show the bars."""
        show(self._session, self._progress)

    def stop(self) -> None:
        """Leave them as they are."""
        hide(self._session, self._progress)


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
        if task.fields["unit"] == "bytes":
            return label + super().render(task)
        left = task.fields.get("eta")  # the platform's own, of a batch
        if left is None and task.completed and task.elapsed:
            # Rich counts from the first one done, and that took its time.
            left = task.elapsed / task.completed * (task.remaining or 0)
        shown = "-:--:--" if left is None else length(left)
        return label + Text(shown, style="progress.remaining")


def show(session: Session, progress: Progress) -> None:
    """Show bars, and have what is said meanwhile stand above them."""

    def put(text: str) -> None:
        progress.console.print(Text.from_ansi(text), soft_wrap=True)

    session.above_bars = put
    progress.start()


def hide(session: Session, progress: Progress) -> None:
    """Leave the bars as they are."""
    progress.stop()
    session.above_bars = None


def build_progress() -> Progress:
    """Return bars that say a name, how far, how much and how long."""
    return Progress(
        TextColumn("{task.description:10}"),
        BarColumn(bar_width=None),
        _Amount(),
        _Remaining(),
        console=Console(stderr=True),
        expand=True,
        # A transcript takes minutes: half a minute of history would know no speed.
        speed_estimate_period=300,
        redirect_stdout=False,  # Session.above_bars is the way
        redirect_stderr=False,
    )
