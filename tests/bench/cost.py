"""CPU time of all own processes for one job, submit to delivered webhook.

User and system time over the process trees (web, dispatcher, workers, webhook worker),
from the first POST to the last webhook, idle ticks of that time included. Calls of
0.3 s, 100 slots, 16 connections that submit as fast as they can. Rounds take turns and
each side is judged by its median round. PostgreSQL and Valkey are shown beside.
"""

from dataclasses import dataclass, field

from tests.bench.duel import Duel, Side
from tests.bench.rows import Row, at_most, median

LIMITS = {50: 1.5, 1000: 1.0}
ROUNDS = 3
JOBS = 200


@dataclass(slots=True, kw_only=True)
class Costs:
    """CPU milliseconds of one job, by process, of each round."""

    own: list[float] = field(default_factory=list)
    by_process: dict[str, list[float]] = field(default_factory=dict)
    servers: dict[str, list[float]] = field(default_factory=dict)


def run(duel: Duel) -> list[Row]:
    """Take rounds in turns at each document's length."""
    rows = []
    for words, limit in LIMITS.items():
        duel.emulator.tune(words=words)
        costs = {side.name: Costs() for side in duel.sides}
        for number in range(ROUNDS):
            for side in duel.sides if number % 2 else reversed(duel.sides):
                measure(duel, side, costs[side.name])
        rows += judge(words, limit, costs)
    duel.emulator.tune(words=50)
    return rows


def measure(duel: Duel, side: Side, costs: Costs) -> None:
    """Run one round and add its figures."""
    servers = duel.stage.server_cpu_seconds()
    before = {name: p.cpu_seconds() for name, p in side.platform.processes.items()}
    duel.run_jobs(side, JOBS)
    total = 0.0
    for name, process in side.platform.processes.items():
        spent = (process.cpu_seconds() - before[name]) * 1000 / JOBS
        costs.by_process.setdefault(name, []).append(spent)
        total += spent
    costs.own.append(total)
    for name, seconds in duel.stage.server_cpu_seconds().items():
        spent = (seconds - servers[name]) * 1000 / JOBS
        costs.servers.setdefault(name, []).append(spent)


def judge(words: int, limit: float, costs: dict[str, Costs]) -> list[Row]:
    """Compare the medians, and show where each side's time went."""
    ours, peer = costs["ours"], costs["peer"]
    own = {name: median(each.own) for name, each in costs.items()}
    return [
        Row(
            bench="cost",
            figure=f"CPU of a job, {words} words",
            ours=f"{own['ours']:.1f} ms",
            peer=f"{own['peer']:.1f} ms",
            **at_most(own["ours"] / own["peer"], limit),
        ),
        Row(
            bench="cost",
            figure="… of which, by process",
            ours=format_parts(ours.by_process),
            peer=format_parts(peer.by_process),
        ),
        Row(
            bench="cost",
            figure="… and of the servers",
            ours=format_parts(ours.servers),
            peer=format_parts(peer.servers),
        ),
    ]


def format_parts(parts: dict[str, list[float]]) -> str:
    """Return the medians by name, like processes taken together."""
    sums: dict[str, float] = {}
    for name, spent in parts.items():
        kind = name.removeprefix("peer-").split("-")[0].split()[0]
        sums[kind] = sums.get(kind, 0.0) + median(spent)
    return ", ".join(f"{kind} {spent:.1f}" for kind, spent in sums.items())
