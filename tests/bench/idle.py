"""One job at a time on an idle system: POST to webhook, less the call's 0.1 s.

Jobs come at moments that have nothing to do with the dispatcher's tick.
"""

import json
import random
import time
import urllib.request

from tests.bench.duel import Duel, Side
from tests.bench.rows import Row, at_most, percentile
from tests.bench.stage import wait_for

JOBS = 40
CALL_SECONDS = 0.1
LIMIT_MS = 50.0


def run(duel: Duel) -> list[Row]:
    """Send single jobs to both in turns."""
    duel.emulator.tune(latency_base=CALL_SECONDS)
    times: dict[str, list[float]] = {side.name: [] for side in duel.sides}
    moments = random.Random(1)
    for number in range(JOBS):
        for side in duel.sides if number % 2 else reversed(duel.sides):
            time.sleep(moments.uniform(0.02, 0.12))
            times[side.name].append(time_one(duel, side))
    duel.emulator.tune(latency_base=0.3)
    ours, peer = times["ours"], times["peer"]
    p50 = {name: percentile(each, 0.5) for name, each in times.items()}
    return [
        Row(
            bench="idle",
            figure="one job, POST → webhook less the call, p50",
            ours=f"{p50['ours']:.0f} ms (p90 {percentile(ours, 0.9):.0f})",
            peer=f"{p50['peer']:.0f} ms (p90 {percentile(peer, 0.9):.0f})",
            **at_most(p50["ours"], LIMIT_MS, " ms"),
        )
    ]


def time_one(duel: Duel, side: Side) -> float:
    """Return one job's milliseconds over the call."""
    duel.customer.forget()
    request = urllib.request.Request(
        side.jobs_url,
        data=json.dumps(duel.customer.body).encode(),
        headers={
            "content-type": "application/json",
            "authorization": f"Bearer {side.token}",
        },
    )
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=10) as answer:
        job = json.loads(answer.read())["id"]
    wait_for(lambda: duel.customer.count() > 0, f"{side.name}: no webhook", seconds=30)
    ((at, told, signed),) = duel.customer.webhooks()
    if told != job or not signed:
        raise RuntimeError(f"{side.name}: a webhook of another job, or unsigned")
    return (at - began - CALL_SECONDS) * 1000
