"""POST /v1/jobs with 16 connections: how many a second, and how long each takes.

One web process each; all other processes are frozen meanwhile. Each side checks a bearer
token and the body and answers 202. The platform writes the job and its first event, the
peer writes the job and queues its task, the leaner peer only queues its task. The
generator is a process of its own and reports its own lag and CPU share.
"""

from dataclasses import dataclass, field

from tests.bench.comparison import LEAN, OURS, PLAIN, Comparison, Side
from tests.bench.load import send
from tests.bench.rows import Row, at_least, at_most, median, percentile
from tests.bench.stage import frozen

SECONDS = 4.0
ROUNDS = 3


@dataclass(slots=True)
class Accepted:
    """What one side accepted: a figure per round, and the seconds of all requests."""

    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    cpu_shares: list[float] = field(default_factory=list)

    def describe_rate(self) -> str:
        """Return requests a second and their CPU time."""
        return f"{median(self.rates):.0f} ({median(self.cpu_ms):.1f} ms CPU each)"

    def percentile_ms(self, share: float) -> float:
        """Return a percentile of the response times in milliseconds."""
        return percentile(self.seconds, share) * 1000

    def describe_times(self) -> str:
        """Return p99 and p50."""
        return f"{self.percentile_ms(0.99):.0f} ms ({self.percentile_ms(0.5):.0f})"


def run(comparison: Comparison) -> list[Row]:
    """Measure each side's web process in turns."""
    accepted = {side.name: Accepted() for side in comparison.sides}
    processes = {
        id(process): process
        for side in comparison.sides
        for process in side.platform.processes.values()
        if process is not side.web
    }
    with frozen(processes.values()):
        comparison.take_turns(
            ROUNDS, lambda side: measure(comparison, side, accepted[side.name])
        )
    return judge(accepted)


def measure(comparison: Comparison, side: Side, accepted: Accepted) -> None:
    """Send requests for some seconds and add the figures."""
    before = side.web.cpu_seconds()
    report = send(
        side.jobs_url, body=comparison.customer.body, token=side.token, seconds=SECONDS
    )
    if report["refused"]:
        raise RuntimeError(f"{side.name} rejected {report['refused']} jobs")
    done = len(report["ids"])
    accepted.rates.append(done / report["took"])
    accepted.cpu_ms.append((side.web.cpu_seconds() - before) * 1000 / done)
    accepted.seconds += report["seconds"]
    accepted.lags += report["lags"]
    accepted.cpu_shares.append(report["cpu_share"])


def judge(accepted: dict[str, Accepted]) -> list[Row]:
    """Compare rates and times with plain Celery's."""
    ours, plain, lean = (accepted[name] for name in (OURS, PLAIN, LEAN))
    lag = max(percentile(each.lags, 0.99) for each in accepted.values()) * 1000
    share = max(max(each.cpu_shares) for each in accepted.values())
    return [
        Row(
            bench="accept",
            figure="POST a second, 16 connections",
            ours=ours.describe_rate(),
            peer=plain.describe_rate(),
            lean=lean.describe_rate(),
            **at_least(median(ours.rates) / median(plain.rates), 1.0),
        ),
        Row(
            bench="accept",
            figure="… p99 (p50)",
            ours=ours.describe_times(),
            peer=plain.describe_times(),
            lean=lean.describe_times(),
            **at_most(ours.percentile_ms(0.99) / plain.percentile_ms(0.99), 1.0),
        ),
        Row(
            bench="accept",
            figure="… the generator's own lag p99, CPU share",
            ours=f"{lag:.1f} ms, {share:.0%}",
        ),
    ]
