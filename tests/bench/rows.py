"""The rows that a bench returns, and their table."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

HEADINGS = ("bench", "figure", "ours", "peer", "leaner peer", "judged by", "met")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure; without a bound there is nothing to meet."""

    bench: str
    figure: str
    ours: str
    peer: str = ""
    lean: str = ""
    judged: str = ""
    is_met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        verdict = {True: "yes", False: "NO", None: ""}[self.is_met]
        return (
            self.bench,
            self.figure,
            self.ours,
            self.peer,
            self.lean,
            self.judged,
            verdict,
        )


def at_most(value: float, limit: float, unit: str = "") -> dict[str, object]:
    """Judge a value by an upper bound."""
    return {"judged": f"{value:.2f} ≤ {limit:.4g}{unit}", "is_met": value <= limit}


def at_least(value: float, limit: float, unit: str = "") -> dict[str, object]:
    """Judge a value by a lower bound."""
    return {"judged": f"{value:.2f} ≥ {limit:.4g}{unit}", "is_met": value >= limit}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Iterable[float]) -> float:
    """Return the middle value."""
    return statistics.median(list(values))


def build_table(rows: Iterable[Row]) -> Table:
    """Return the table for a terminal."""
    table = Table(*HEADINGS, title="Targets")
    for row in rows:
        style = "red" if row.is_met is False else ""
        table.add_row(*row.cells(), style=style)
    return table


def format_markdown(rows: Iterable[Row]) -> str:
    """Return the table for a page."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
