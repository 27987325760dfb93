"""docs/bench/: the rows of the last run of each bench, and the page they stand on."""

import dataclasses
import json
import os
from collections.abc import Iterable
from timeit import timeit

from tests.bench.rows import Row, format_markdown
from tests.support import ROOT

FOLDER = ROOT / "docs" / "bench"
ROWS, PAGE = FOLDER / "rows.json", FOLDER / "README.md"
ORDER = (
    *("quota", "fairness", "receivers", "claim", "recovery"),
    *("cost", "light", "throughput", "accept", "idle"),
)
_BEGIN, _END = "<!-- rows: written by tests.bench -->", "<!-- end of rows -->"


def write(rows: Iterable[Row]) -> None:
    """Replace the rows of the benches that ran, and the table in the page."""
    rows = list(rows)
    earlier = (
        [Row(**each) for each in json.loads(ROWS.read_text())] if ROWS.exists() else []
    )
    fresh = {row.bench for row in rows}
    merged = [row for row in earlier if row.bench not in fresh] + rows
    places = {name: place for place, name in enumerate(ORDER)}
    merged.sort(key=lambda row: places.get(row.bench, len(places)))
    FOLDER.mkdir(parents=True, exist_ok=True)
    ROWS.write_text(json.dumps([dataclasses.asdict(row) for row in merged], indent=1))
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    PAGE.write_text(f"{before}{_BEGIN}\n\n{build(merged)}\n\n{_END}{after}")


def time_of_loop() -> float:
    """Return how long a machine takes for what never changes: to compare two by."""
    return timeit(lambda: sum(number for number in range(10_000_000)), number=1)


def build(rows: list[Row]) -> str:
    """Return the table, the machine it was made on, and what was missed."""
    load = os.getloadavg()[1]
    machine = (
        f"{os.cpu_count()} cores, load average {load:.1f} at the end of the run;"
        f" Python's own loop needs {time_of_loop():.1f} s for ten million additions"
    )
    missed = [row for row in rows if row.is_met is False]
    lines = "\n".join(f"- {row.bench}, {row.figure}: {row.ours}" for row in missed)
    falls_short = f"Missed:\n\n{lines}" if missed else "Every target was met."
    return f"Machine: {machine}.\n\n{format_markdown(rows)}\n\n{falls_short}"
