"""The regions as real processes behind a real HAProxy, to be broken and watched."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from deploy.local import haproxy, regions
from deploy.local.regions import RegionsLayout, RegionsShape
from tests.chaos.platform import Platform, Setup
from tests.chaos.receiver import listening
from tests.chaos.upstream import Upstream, Upstreams
from workers.embedded.plan import Options

HELD = "permits:{{{}:prerecorded}}:held"


@dataclass(slots=True, kw_only=True)
class Drill(Platform):
    """The running regions; ``bound``: regions asked for, by idempotency key."""

    stand: RegionsLayout
    upstreams: Upstreams
    bound: dict[str, str] = field(default_factory=dict)

    @property
    def regions(self) -> tuple[str, ...]:
        return self.stand.shape.regions

    def of_region(self, region: str, *kinds: str) -> list[str]:
        """Return the names of a region's processes, of some kinds or all."""
        return [
            name
            for name in self.names("")
            if name.endswith(region) and (not kinds or name.split("-")[0] in kinds)
        ]

    def tick(self) -> None:
        self.supervisor.tick()

    def upstream_of(self, name: str) -> Upstream | None:
        kind, _, region = name.partition("-")
        return self.upstreams.each[region] if kind == "emulator" else None

    def permits_held(self) -> int:
        held = 0
        for region, plan in self.stand.plans.items():
            with redis.Redis.from_url(plan.environment["REDIS_URL"]) as client:
                now = int(time.time() * 1000)
                held += int(client.zcount(HELD.format(region), now, "+inf"))
        return held

    def reload_front(self) -> None:
        """Change the front door's process, under its sockets."""
        haproxy.reload(self.child("haproxy").process.pid, self.stand.admin)

    def servers_up(self, region: str) -> bool:
        """Tell whether HAProxy sends requests to the region's doors."""
        table = haproxy.ask(self.stand.admin, "show stat")
        rows = [line.split(",") for line in table.splitlines() if line]
        status = rows[0].index("status")
        states = [row[status] for row in rows if row[1] == region]
        return all(state.startswith("UP") for state in states)


@contextmanager
def running(folder: Path, setup: Setup, shape: RegionsShape) -> Iterator[Drill]:
    """Yield the regions once all of them answer; stop all of it afterwards."""
    with listening() as inbox:
        settings = setup.settings(inbox)
        if shape.is_lean:
            settings["DRAIN_SECONDS"] = "0"  # nobody restarts its doors in order
        options = Options(data_dir=folder, port=0, durable=False, settings=settings)
        with regions.running(options, shape, show=lambda _children: None) as started:
            inbox.secret = started.webhook_secret
            stand = started.layout
            upstreams = Upstreams(
                {name: Upstream(plan.emulator) for name, plan in stand.plans.items()}
            )
            drill = Drill(
                setup=setup,
                plan=regions.get_first_plan(stand),
                supervisor=started.supervisor,
                inbox=inbox,
                upstream=upstreams,
                upstreams=upstreams,
                api_key=started.api_key,
                stand=stand,
            )
            drill.wait(
                lambda: all(map(drill.servers_up, drill.regions)),
                seconds=20,
                what="HAProxy finds every door up",
            )
            yield drill


def shape_of(setup: Setup, *, lean: bool = False, count: int = 3) -> RegionsShape:
    """Return regions whose upstreams enforce a little more than they are told."""
    words = (
        *("--seed", str(setup.seed), "--concurrency", str(setup.concurrency)),
        *("--rate-per-minute", str(setup.per_minute)),
        *("--latency-min", "0.1", "--latency-max", str(setup.longest_call_seconds)),
        *("--fetch-cache-seconds", "3600", "--words", "20"),
    )
    return RegionsShape(
        regions=regions.REGIONS[:count],
        threads=setup.threads,
        max_concurrent=setup.concurrency - 2,
        max_per_minute=int(setup.per_minute * 0.97),
        emulator=words,
        is_lean=lean,
    )


def told_of(drill: Drill) -> str:
    """Return the run's addresses, for whoever looks on."""
    return json.dumps(
        {"front": drill.stand.front, "logs": str(drill.plan.options.logs)}
    )
