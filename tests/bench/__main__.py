"""`python -m tests.bench [NAME…]`: run all benches or some, and print one table.

A run of all also writes docs/bench/README.md.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from inspect import getdoc, signature
from pathlib import Path

import django
from rich.console import Console

from tests.bench import rows as tables
from tests.bench import stage as stages
from tests.bench.rows import Row
from tests.bench.stage import Stage

NAMES = ("claim", "fairness", "recovery", "doors", "quota")
PAGE = Path(__file__).parents[2] / "docs" / "bench" / "README.md"


def main(names: Sequence[str]) -> int:
    """Run the named benches; return 1 if a bound was not held."""
    console = Console()
    began = time.monotonic()
    with stages.set_up() as stage:
        django.setup()
        rows = [row for name in names for row in run_one(name, stage, console)]
    console.print(tables.build_table(rows))
    console.print(f"{time.monotonic() - began:.0f} s in all")
    return 0


def run_one(name: str, stage: Stage, console: Console) -> list[Row]:
    """Run one bench on cleared tables; one that breaks is a row that is not held."""
    module = importlib.import_module(f"tests.bench.{name}")
    began = time.monotonic()
    console.print(f"{name}: {(getdoc(module) or '').splitlines()[0]}", style="dim")
    ours = importlib.import_module("tests.bench.ours")  # needs Django
    ours.migrate()
    ours.clear()
    rows = module.run(stage) if signature(module.run).parameters else module.run()
    console.print(tables.build_table(rows))
    console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
    return list(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    sys.exit(main(parser.parse_args().names or NAMES))
