"""One job at a time on an idle system: POST to webhook, less the call's 0.1 s.

Jobs come at moments unrelated to the dispatcher's tick.
"""

import json
import random
import time
import urllib.request

from tests.bench.comparison import LEAN, OURS, PLAIN, Comparison, Side
from tests.bench.rows import Row, at_most, percentile
from tests.bench.stage import wait_for

JOBS = 40
CALL_SECONDS = 0.1
LIMIT = 1.4


def run(comparison: Comparison) -> list[Row]:
    """Send single jobs to each side in turns."""
    comparison.emulator.tune(latency_base=CALL_SECONDS)
    times: dict[str, list[float]] = {side.name: [] for side in comparison.sides}
    moments = random.Random(1)

    def measure(side: Side) -> None:
        time.sleep(moments.uniform(0.02, 0.12))
        times[side.name].append(time_one(comparison, side))

    comparison.take_turns(JOBS, measure)
    comparison.emulator.tune(latency_base=0.3)
    p50 = {name: percentile(each, 0.5) for name, each in times.items()}
    texts = {
        name: f"{p50[name]:.0f} ms (p90 {percentile(each, 0.9):.0f})"
        for name, each in times.items()
    }
    return [
        Row(
            bench="idle",
            figure="one job, POST → webhook less the call, p50",
            ours=texts[OURS],
            peer=texts[PLAIN],
            lean=texts[LEAN],
            **at_most(p50[OURS] / p50[PLAIN], LIMIT),
        )
    ]


def time_one(comparison: Comparison, side: Side) -> float:
    """Return one job's milliseconds beyond the call."""
    customer = comparison.customer
    customer.forget()
    request = urllib.request.Request(
        side.jobs_url,
        data=json.dumps(customer.body).encode(),
        headers={
            "content-type": "application/json",
            "authorization": f"Bearer {side.token}",
        },
    )
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=10) as answer:
        job = json.loads(answer.read())["id"]
    wait_for(lambda: customer.count() > 0, f"{side.name}: no webhook", seconds=30)
    ((at, received, is_signed),) = customer.webhooks()
    if received != job or not is_signed:
        raise RuntimeError(f"{side.name}: a webhook of another job, or unsigned")
    return (at - began - CALL_SECONDS) * 1000
