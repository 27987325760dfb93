"""`python -m tests.bench [NAME…]`: run all benches or some, and print one table.

A run of all, or `--write`, also puts the rows into docs/bench/. Exits with 1 if a target
is missed.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from inspect import getdoc, signature

import django
from rich.console import Console

from tests.bench import pages
from tests.bench import rows as tables
from tests.bench import stage as stages
from tests.bench.rows import Row
from tests.bench.stage import Stage

# The quota keeps the machine busiest.
NAMES = (
    "claim",
    "fairness",
    "receivers",
    "recovery",
    "sync",
    "events",
    "live",
    "search",
    "operators",
    "neighbour",
    "bulk",
    "peers",
    "quota",
)
# The parts of "peers", which can also be run alone.
PARTS = ("idle", "cost", "light", "throughput", "accept")


def main(names: Sequence[str], *, write: bool) -> bool:
    """Run the named benches on one pair of servers; return whether all targets were met."""
    # A file or a pipe has no width of its own.
    console = Console(width=None if sys.stdout.isatty() else 180)
    began = time.monotonic()
    rows: list[Row] = []
    parts = [name for name in names if name in PARTS]
    others = [name for name in names if name not in PARTS]
    with stages.set_up() as stage:
        django.setup()
        for name in [*others, *(["peers"] if parts else [])]:
            rows += run_one(name, stage, console, parts)
            if write:
                pages.write(rows)
    took = f"{(time.monotonic() - began) / 60:.1f} minutes"
    if tuple(names) == NAMES:
        rows.append(Row(bench="all", figure="duration of the run", ours=took))
        pages.write(rows)
    console.print(tables.build_table(rows))
    console.print(f"{took} in all")
    missed = [row for row in rows if row.is_met is False]
    for row in missed:
        message = f"missed: {row.bench}, {row.figure}: {row.judged}"
        console.print(message, style="red", markup=False)
    return not missed


def run_one(
    name: str, stage: Stage, console: Console, parts: Sequence[str] = ()
) -> list[Row]:
    """Run one bench on cleared tables; one that breaks is a missed row."""
    ours = importlib.import_module("tests.bench.ours")  # its models need Django set up
    module = importlib.import_module(f"tests.bench.{name}")
    began = time.monotonic()
    console.print(f"{name}: {(getdoc(module) or '').splitlines()[0]}", style="dim")
    ours.migrate()
    ours.clear()
    available = {"stage": stage, "parts": parts}
    arguments = {key: available[key] for key in signature(module.run).parameters}
    try:
        rows = module.run(**arguments)
    except RuntimeError as error:
        console.print(str(error), style="red", markup=False)
        message = str(error).splitlines()[0]
        rows = [
            Row(bench=name, figure="the bench broke off", ours=message, is_met=False)
        ]
    console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
    return list(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=(*NAMES, *PARTS))
    parser.add_argument("--write", action="store_true", help="update docs/bench/")
    given = parser.parse_args()
    all_held = main(given.names or NAMES, write=given.write or not given.names)
    sys.exit(0 if all_held else 1)
