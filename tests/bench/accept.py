"""POST /v1/jobs with 16 connections: how many a second, and how long each takes.

One web process each; everything else of both sides is frozen meanwhile, so that the
door alone is measured. Both check a bearer token and the body, write the job and
answer 202; ours also writes the first event, the peer queues its task. The generator is
a process of its own and reports its own lag and CPU share.
"""

from tests.bench.duel import Duel
from tests.bench.load import send
from tests.bench.rows import Row, at_least, at_most, median, percentile

SECONDS = 4.0
ROUNDS = 3


def run(duel: Duel) -> list[Row]:
    """Take rounds in turns."""
    for side in duel.sides:
        for name, process in side.platform.processes.items():
            if not name.endswith("web"):
                process.freeze()
    rates: dict[str, list[float]] = {side.name: [] for side in duel.sides}
    cpu: dict[str, list[float]] = {side.name: [] for side in duel.sides}
    times: dict[str, list[float]] = {side.name: [] for side in duel.sides}
    lags, shares = [], []
    for number in range(ROUNDS):
        for side in duel.sides if number % 2 else reversed(duel.sides):
            (web,) = (
                process
                for name, process in side.platform.processes.items()
                if name.endswith("web")
            )
            before = web.cpu_seconds()
            report = send(
                side.jobs_url,
                body=duel.customer.body,
                token=side.token,
                seconds=SECONDS,
            )
            if report["refused"]:
                raise RuntimeError(f"{side.name} refused {report['refused']} jobs")
            done = len(report["ids"])
            rates[side.name].append(done / report["took"])
            cpu[side.name].append((web.cpu_seconds() - before) * 1000 / done)
            times[side.name] += report["seconds"]
            lags += report["lags"]
            shares.append(report["cpu_share"])
    return [
        *judge(rates, cpu, times),
        Row(
            bench="accept",
            figure="the generator's own lag p99, CPU share",
            ours=f"{percentile(lags, 0.99) * 1000:.1f} ms, {max(shares):.0%}",
        ),
    ]


def judge(
    rates: dict[str, list[float]],
    cpu: dict[str, list[float]],
    times: dict[str, list[float]],
) -> list[Row]:
    """Compare rates and times."""
    rate = {name: median(each) for name, each in rates.items()}
    cost = {name: median(each) for name, each in cpu.items()}
    p50 = {name: percentile(each, 0.5) * 1000 for name, each in times.items()}
    p99 = {name: percentile(each, 0.99) * 1000 for name, each in times.items()}
    return [
        Row(
            bench="accept",
            figure="POST a second, 16 connections",
            ours=f"{rate['ours']:.0f} ({cost['ours']:.1f} ms CPU each)",
            peer=f"{rate['peer']:.0f} ({cost['peer']:.1f} ms CPU each)",
            **at_least(rate["ours"] / rate["peer"], 1.0),
        ),
        Row(
            bench="accept",
            figure="… p99 (p50)",
            ours=f"{p99['ours']:.0f} ms ({p50['ours']:.0f})",
            peer=f"{p99['peer']:.0f} ms ({p50['peer']:.0f})",
            **at_most(p99["ours"] / p99["peer"], 1.0),
        ),
    ]
