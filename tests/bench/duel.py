"""Both systems up on the same servers, emulator and customer, one idle while the other runs.

Each has one web process and two workers of fifty threads. Ours has beside them its
dispatcher and its webhook worker; the peer's workers deliver its webhooks. Both write
their logs to files at their usual level.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench import ours, theirs, upstream
from tests.bench.load import send
from tests.bench.ours import Platform
from tests.bench.stage import Stage, wait_for
from tests.bench.upstream import Customer, Emulator

WARM_UP = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two."""

    name: str
    platform: Platform
    token: str

    @property
    def jobs_url(self) -> str:
        """Where jobs are submitted."""
        return f"{self.platform.url}/v1/jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Both, and what stands outside them."""

    stage: Stage
    emulator: Emulator
    customer: Customer
    sides: tuple[Side, Side]

    def run_jobs(self, side: Side, number: int) -> list[str]:
        """Submit jobs and wait until the last webhook came; return their ids."""
        self.customer.forget()
        report = send(
            side.jobs_url, body=self.customer.body, token=side.token, count=number
        )
        if report["refused"]:
            raise RuntimeError(f"{side.name} refused {report['refused']} jobs")
        wait_for(
            lambda: self.customer.count() >= number,
            f"{side.name}: not every webhook came",
            seconds=120,
        )
        return list(report["ids"])


@contextmanager
def duel(stage: Stage) -> Iterator[Duel]:
    """Start everything, and run some jobs through both to warm them up."""
    with (
        upstream.customer(stage) as customer,
        upstream.emulator(stage, latency_base=0.3, words=50) as emulator,
        theirs.peer(stage, emulator) as (peer, token),
    ):
        tenant = ours.make_tenant("bench")
        ours.make_region("local", emulator, max_concurrent=100)
        key = ours.make_key(tenant)
        with ours.platform(stage, workers={"local": (50, 50)}) as platform:
            fight = Duel(
                stage=stage,
                emulator=emulator,
                customer=customer,
                sides=(
                    Side(name="ours", platform=platform, token=key),
                    Side(name="peer", platform=peer, token=token),
                ),
            )
            for side in fight.sides:
                fight.run_jobs(side, WARM_UP)
            yield fight
