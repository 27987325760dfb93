"""The platform, plain Celery and a leaner peer, on the same servers, emulator and customer.

The platform and the peer have one web process and two workers of fifty threads each.
The platform also has a dispatcher and a webhook worker; the peer's workers deliver its
webhooks. The leaner peer is another endpoint and task of the peer's processes. All write
their logs to files at their usual level.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench import ours, theirs, upstream
from tests.bench.load import Report, send
from tests.bench.ours import Platform
from tests.bench.stage import Process, Stage, frozen, wait_for
from tests.bench.upstream import Customer, Emulator

OURS, PLAIN, LEAN = "ours", "plain", "lean"
WARM_UP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the systems compared."""

    name: str
    platform: Platform
    token: str
    path: str = "/v1/jobs"

    @property
    def jobs_url(self) -> str:
        """Where jobs are submitted."""
        return self.platform.url + self.path

    @property
    def web(self) -> Process:
        """The web process."""
        processes = self.platform.processes
        return next(each for name, each in processes.items() if name.endswith("web"))

    @property
    def consumers(self) -> list[Process]:
        """The processes that take jobs from the backlog."""
        kinds = ("dispatcher", "peer-worker")
        processes = self.platform.processes.items()
        return [process for name, process in processes if name.startswith(kinds)]

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time of each of its processes so far."""
        processes = self.platform.processes.items()
        return {name: process.cpu_seconds() for name, process in processes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The systems compared, and what they share."""

    stage: Stage
    emulator: Emulator
    customer: Customer
    sides: tuple[Side, ...]

    def side(self, name: str) -> Side:
        """Return the system of this name."""
        return next(side for side in self.sides if side.name == name)

    def take_turns(
        self, rounds: int, measure: Callable[[Side], None], *names: str
    ) -> None:
        """Measure each side once a round, in alternating order, the others idle."""
        sides = [side for side in self.sides if not names or side.name in names]
        for number in range(rounds):
            for side in sides if number % 2 else reversed(sides):
                # The platform's idle ticks would count as the peer's PostgreSQL time.
                others = [] if side.name == OURS else self.side(OURS).consumers
                with frozen(others):
                    measure(side)

    def submit(self, side: Side, number: int, *, per_second: float = 0.0) -> Report:
        """Submit jobs; raise RuntimeError if one is rejected."""
        report = send(
            side.jobs_url,
            body=self.customer.body,
            token=side.token,
            count=number,
            per_second=per_second,
        )
        if report["refused"]:
            raise RuntimeError(f"{side.name} rejected {report['refused']} jobs")
        return report

    def wait_for_webhooks(self, side: Side, number: int) -> None:
        """Wait until this many webhooks arrived."""
        wait_for(
            lambda: self.customer.count() >= number,
            f"{side.name}: not every webhook arrived",
            seconds=180,
        )

    def run_jobs(self, side: Side, number: int) -> None:
        """Submit jobs and wait until the last webhook arrived."""
        self.customer.forget()
        self.submit(side, number)
        self.wait_for_webhooks(side, number)


@contextmanager
def compared(stage: Stage) -> Iterator[Comparison]:
    """Start everything, and run some jobs through each system to warm it up."""
    with (
        upstream.customer(stage) as customer,
        upstream.emulator(stage, latency_base=0.3, words=50) as emulator,
        theirs.peer(stage, emulator) as (peer, token),
    ):
        tenant = ours.make_tenant("bench")
        ours.make_region("local", emulator, max_concurrent=100)
        key = ours.make_key(tenant)
        with ours.platform(stage, workers={"local": (50, 50)}) as platform:
            comparison = Comparison(
                stage=stage,
                emulator=emulator,
                customer=customer,
                sides=(
                    Side(name=OURS, platform=platform, token=key),
                    Side(name=PLAIN, platform=peer, token=token),
                    Side(
                        name=LEAN,
                        platform=peer,
                        token=theirs.SHARED_TOKEN,
                        path="/v1/lean-jobs",
                    ),
                ),
            )
            for side in comparison.sides:
                comparison.run_jobs(side, WARM_UP)
            yield comparison


def spent_ms(
    before: Mapping[str, float], after: Mapping[str, float], jobs: int
) -> dict[str, float]:
    """Return the CPU milliseconds per job of each process between two readings."""
    return {name: (after[name] - before[name]) * 1000 / jobs for name in before}
