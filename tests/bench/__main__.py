"""`python -m tests.bench [NAME…]`: run all benches or some, and print one table.

A run of all, or `--write`, also puts the rows into docs/bench/.
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

# The last freezes and kills what it started; the quota keeps the machine busiest.
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
    "doors",
    "quota",
)


def main(names: Sequence[str], *, write: bool) -> None:
    """Run the named benches on one pair of servers."""
    console = Console()
    began = time.monotonic()
    rows: list[Row] = []
    with stages.set_up() as stage:
        django.setup()
        for name in names:
            rows += run_one(name, stage, console)
            if write:
                pages.write(rows)
    console.print(tables.build_table(rows))
    console.print(f"{time.monotonic() - began:.0f} s in all")


def run_one(name: str, stage: Stage, console: Console) -> list[Row]:
    """Run one bench on cleared tables; one that breaks is a row that did not hold."""
    ours = importlib.import_module("tests.bench.ours")  # its models need Django set up
    module = importlib.import_module(f"tests.bench.{name}")
    began = time.monotonic()
    console.print(f"{name}: {(getdoc(module) or '').splitlines()[0]}", style="dim")
    ours.migrate()
    ours.clear()
    try:
        rows = module.run(stage) if signature(module.run).parameters else module.run()
    except RuntimeError as error:
        console.print(str(error), style="red", markup=False)
        message = str(error).splitlines()[0]
        rows = [Row(bench=name, figure="the bench broke off", ours=message, held=False)]
    console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
    return list(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--write", action="store_true", help="update docs/bench/")
    given = parser.parse_args()
    main(given.names or NAMES, write=given.write or not given.names)
    sys.exit(0)
