"""Displays the supervised processes: a live table at a terminal, or lines."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from workers.embedded.supervisor import Child, ChildState

COLORS = {
    ChildState.STARTING: "yellow",
    ChildState.READY: "green",
    ChildState.RESTARTING: "red",
    ChildState.STOPPED: "dim",
}


class View:
    """Displays the processes; redraws only on changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._is_closed = False
        self._shown: dict[str, tuple[ChildState, int]] = {}
        self._started_at = time.monotonic()

    def show(self, children: Sequence[Child]) -> None:
        """Draw the changes since the last call."""
        now = {
            child.program.name: (child.state, child.process.pid) for child in children
        }
        if now == self._shown:
            return
        if self._console.is_terminal and not self._is_closed:
            self._draw(children)
        else:
            for child in children:
                if now[child.program.name] != self._shown.get(child.program.name):
                    self._console.print(self._line(child), highlight=False)
        self._shown = now

    def close(self) -> None:
        """Stop the live table; later changes are printed as lines."""
        self._is_closed = True
        if self._live:
            self._live.stop()
            self._live = None

    def _draw(self, children: Sequence[Child]) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(build_table(children), refresh=True)

    def _line(self, child: Child) -> str:
        seconds = time.monotonic() - self._started_at
        name = f"{child.program.name:<11}"
        restarts = f" restarts {child.restarts}" if child.restarts else ""
        return (
            f"[{seconds:6.1f} s] {name} {child.state:<10} pid {child.process.pid}"
            f"{restarts} {child.program.address}"
        ).replace("[", "\\[", 1)


def build_table(children: Sequence[Child]) -> Table:
    """Return the table of processes."""
    table = Table("process", "pid", "state", "restarts", "address", box=None)
    for child in children:
        table.add_row(
            child.program.name,
            str(child.process.pid),
            f"[{COLORS[child.state]}]{child.state}[/]",
            str(child.restarts),
            child.program.address,
        )
    return table
