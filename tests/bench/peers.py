"""The platform beside plain Celery and a leaner peer, all started once."""

from collections.abc import Sequence

from tests.bench import accept, cost, idle, throughput
from tests.bench.comparison import compared
from tests.bench.rows import Row
from tests.bench.stage import Stage

# Accept leaves thousands of jobs behind: it is the last.
PARTS = {
    "idle": idle.run,
    "cost": cost.run,
    "light": cost.run_light,
    "throughput": throughput.run,
    "accept": accept.run,
}


def run(stage: Stage, parts: Sequence[str] = ()) -> list[Row]:
    """Run the parts of these names, or all."""
    with compared(stage) as comparison:
        return [
            row
            for name, run_part in PARTS.items()
            if name in (parts or PARTS)
            for row in run_part(comparison)
        ]
