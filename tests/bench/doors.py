"""idle, cost and accept, on one pair of systems that is started once."""

from collections.abc import Sequence

from tests.bench import accept, cost, idle
from tests.bench.duel import duel
from tests.bench.rows import Row
from tests.bench.stage import Stage

# Accept freezes the workers: it is the last.
PARTS = {"idle": idle, "cost": cost, "accept": accept}


def run(stage: Stage, parts: Sequence[str] = tuple(PARTS)) -> list[Row]:
    """Run the parts on one pair of systems."""
    with duel(stage) as pair:
        return [row for name in parts for row in PARTS[name].run(pair)]
