"""Synchronous requests: what they add to a call made directly with Deepgram's SDK.

Twenty callers wait for calls of 2 s, alternating between the emulator with the SDK and
one web process of the platform. Added: what a call of the platform takes beyond the
median direct one.
"""

from tests.bench import ours, upstream
from tests.bench.rows import Row, at_most, median, percentile
from tests.bench.stage import Stage
from tests.bench.waiters import wait_all

CALLERS = 20
CALLS = 5
ROUNDS = 3
CALL_SECONDS = 2.0
P50_MS = 40.0
P99_MS = 150.0


def run(stage: Stage) -> list[Row]:
    """Take rounds in turns."""
    seconds: dict[str, list[float]] = {"sdk": [], "door": []}
    lags: list[float] = []
    with (
        upstream.emulator(stage, latency_base=CALL_SECONDS, words=50) as emulator,
        upstream.customer(stage) as customer,
    ):
        token = ours.make_key(ours.make_tenant("waiting"))
        ours.make_region("local", emulator, max_concurrent=100)
        with ours.platform(stage, workers={}, webhook_threads=0) as platform:
            ways = [("sdk", emulator.url, "bench"), ("door", platform.url, token)]
            for number in range(ROUNDS + 1):
                for way, url, key in ways if number % 2 else reversed(ways):
                    report = wait_all(
                        way,
                        url,
                        audio_url=customer.body["audio_url"],
                        token=key,
                        callers=CALLERS,
                        calls=CALLS,
                    )
                    if number:  # the first round warms both up
                        seconds[way] += report["seconds"]
                        lags += report["lags"]
    return judge(seconds, lags)


def judge(seconds: dict[str, list[float]], lags: list[float]) -> list[Row]:
    """Hold what is added against its bounds."""
    direct = median(seconds["sdk"])
    added = [(each - direct) * 1000 for each in seconds["door"]]
    spread = [(each - direct) * 1000 for each in seconds["sdk"]]
    p50, p99 = percentile(added, 0.5), percentile(added, 0.99)
    lag = percentile(lags, 0.99) * 1000
    return [
        Row(
            bench="sync",
            figure=f"added to a call of {CALL_SECONDS:g} s, {CALLERS} in flight, p50",
            ours=f"{p50:.0f} ms",
            peer=f"{percentile(spread, 0.5):.0f} ms (the SDK)",
            **at_most(p50, P50_MS, " ms"),
        ),
        Row(
            bench="sync",
            figure="… p99",
            ours=f"{p99:.0f} ms",
            peer=f"{percentile(spread, 0.99):.0f} ms (the SDK)",
            **at_most(p99, P99_MS, " ms"),
        ),
        Row(bench="sync", figure="the callers' own lag p99", ours=f"{lag:.1f} ms"),
    ]
