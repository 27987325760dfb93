"""Jobs a second out of a loaded backlog: 100 slots, calls of 0.3 s.

All jobs are submitted while the dispatcher (the peer's workers) is frozen. Measured: the
time from its continuation to the last webhook.
"""

import time

from tests.bench.comparison import LEAN, OURS, PLAIN, Comparison, Side
from tests.bench.rows import Row, at_least, median
from tests.bench.stage import frozen

JOBS = 500
ROUNDS = 3
PLAIN_RATIO, LEAN_RATIO = 1.3, 0.7


def run(comparison: Comparison) -> list[Row]:
    """Work off a backlog with each side in turns."""
    rates: dict[str, list[float]] = {side.name: [] for side in comparison.sides}

    def measure(side: Side) -> None:
        comparison.customer.forget()
        with frozen(side.consumers):
            comparison.submit(side, JOBS)
        began = time.monotonic()
        comparison.wait_for_webhooks(side, JOBS)
        last = max(at for at, _, _ in comparison.customer.webhooks())
        rates[side.name].append(JOBS / (last - began))

    comparison.take_turns(ROUNDS, measure)
    rate = {name: median(each) for name, each in rates.items()}
    return [
        Row(
            bench="throughput",
            figure="jobs a second, loaded backlog, 100 slots, calls of 0.3 s",
            ours=f"{rate[OURS]:.0f}",
            peer=f"{rate[PLAIN]:.0f}",
            lean=f"{rate[LEAN]:.0f}",
            **at_least(rate[OURS] / rate[PLAIN], PLAIN_RATIO),
        ),
        Row(
            bench="throughput",
            figure="… relative to the leaner peer",
            ours=f"{rate[OURS] / rate[LEAN]:.2f}",
            **at_least(rate[OURS] / rate[LEAN], LEAN_RATIO),
        ),
    ]
