"""CPU time of all own processes for one job, from submit to delivered webhook.

User and system time of the process trees (web, dispatcher, workers, webhook worker),
including idle ticks. "cost": from the first POST to the last webhook; calls of 0.3 s,
100 slots, 16 connections that submit as fast as they can. "light": five jobs a second
with calls of 6 s, in a steady state. Rounds alternate, and each side is judged by its
median round.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.bench.comparison import LEAN, OURS, PLAIN, Comparison, Side, spent_ms
from tests.bench.rows import Row, at_most, median

LIMITS = {50: 0.6, 1000: 0.5}
POSTGRES_LIMIT = 1.7
ROUNDS = 3
JOBS = 200

LIGHT_LIMIT = 1.2
LIGHT_ROUNDS = 2
LIGHT_PER_SECOND = 5
LIGHT_CALL_SECONDS = 6.0
LIGHT_WARM_UP_SECONDS = LIGHT_CALL_SECONDS + 2
LIGHT_SECONDS = 20.0


@dataclass(slots=True)
class Costs:
    """CPU milliseconds of one job, by process, of each round."""

    own: list[dict[str, float]] = field(default_factory=list)
    servers: list[dict[str, float]] = field(default_factory=list)

    def total(self) -> float:
        """Return the median of all own processes together."""
        return median(sum(each.values()) for each in self.own)

    def describe_total(self) -> str:
        """Return the total as text."""
        return f"{self.total():.1f} ms"

    def server(self, name: str) -> float:
        """Return the median of one server."""
        return median(each[name] for each in self.servers)


def run(comparison: Comparison) -> list[Row]:
    """Take rounds in turns at each document's length."""
    rows = []
    for words, limit in LIMITS.items():
        comparison.emulator.tune(words=words)
        costs = {side.name: Costs() for side in comparison.sides}

        def measure(side: Side, costs: dict[str, Costs] = costs) -> None:
            servers, own = comparison.stage.server_cpu_seconds(), side.cpu_seconds()
            comparison.run_jobs(side, JOBS)
            add_round(comparison, side, costs[side.name], servers, own, JOBS)

        comparison.take_turns(ROUNDS, measure)
        rows += judge("cost", f"CPU of a job, {words} words", limit, costs)
        if words == min(LIMITS):
            rows.append(judge_postgres(costs))
    comparison.emulator.tune(words=min(LIMITS))
    return rows


def run_light(comparison: Comparison) -> list[Row]:
    """Measure the steady state under light load in turns."""
    comparison.emulator.tune(latency_base=LIGHT_CALL_SECONDS)
    costs = {name: Costs() for name in (OURS, PLAIN)}

    def measure(side: Side) -> None:
        measure_light(comparison, side, costs[side.name])

    comparison.take_turns(LIGHT_ROUNDS, measure, *costs)
    comparison.emulator.tune(latency_base=0.3)
    figure = f"CPU of a job at {LIGHT_PER_SECOND} a second, calls of 6 s"
    return judge("light", figure, LIGHT_LIMIT, costs)


def measure_light(comparison: Comparison, side: Side, costs: Costs) -> None:
    """Submit at an even pace; measure once as many jobs end as begin."""
    seconds = LIGHT_WARM_UP_SECONDS + LIGHT_SECONDS
    number = int(seconds * LIGHT_PER_SECOND)
    comparison.customer.forget()
    with ThreadPoolExecutor(max_workers=1) as threads:
        submitting = threads.submit(
            comparison.submit, side, number, per_second=LIGHT_PER_SECOND
        )
        time.sleep(LIGHT_WARM_UP_SECONDS)
        servers, own = comparison.stage.server_cpu_seconds(), side.cpu_seconds()
        delivered = comparison.customer.count()
        submitting.result()
        delivered = comparison.customer.count() - delivered
        add_round(comparison, side, costs, servers, own, delivered)
    comparison.wait_for_webhooks(side, number)


def add_round(
    comparison: Comparison,
    side: Side,
    costs: Costs,
    servers: dict[str, float],
    own: dict[str, float],
    jobs: int,
) -> None:
    """Add what was spent since two readings."""
    costs.own.append(spent_ms(own, side.cpu_seconds(), jobs))
    after = comparison.stage.server_cpu_seconds()
    costs.servers.append(spent_ms(servers, after, jobs))


def judge(bench: str, figure: str, limit: float, costs: dict[str, Costs]) -> list[Row]:
    """Compare the medians, and show where each side's time went."""
    ratio = costs[OURS].total() / costs[PLAIN].total()
    total = {name: each.describe_total() for name, each in costs.items()}
    own = {name: format_parts(each.own) for name, each in costs.items()}
    servers = {name: format_parts(each.servers) for name, each in costs.items()}
    return [
        build_row(bench, figure, total, **at_most(ratio, limit)),
        build_row(bench, "… of which, by process", own),
        build_row(bench, "… and of the servers", servers),
    ]


def judge_postgres(costs: dict[str, Costs]) -> Row:
    """Compare the CPU time of PostgreSQL."""
    spent = {name: each.server("postgres") for name, each in costs.items()}
    texts = {name: f"{each:.1f} ms" for name, each in spent.items()}
    judged = at_most(spent[OURS] / spent[PLAIN], POSTGRES_LIMIT)
    return build_row("cost", "PostgreSQL's CPU of a job, 50 words", texts, **judged)


def build_row(bench: str, figure: str, texts: dict[str, str], **judged: object) -> Row:
    """Return a row with a text of each side."""
    return Row(
        bench=bench,
        figure=figure,
        ours=texts[OURS],
        peer=texts[PLAIN],
        lean=texts.get(LEAN, ""),
        **judged,
    )


def format_parts(rounds: list[dict[str, float]]) -> str:
    """Return the medians by kind of process."""
    sums: dict[str, float] = {}
    for name in rounds[0]:
        kind = name.removeprefix("peer-").split("-")[0].split()[0]
        spent = median(each[name] for each in rounds)
        sums[kind] = sums.get(kind, 0.0) + spent
    return ", ".join(f"{kind} {spent:.1f}" for kind, spent in sums.items())
