"""Several regions on one machine, as real ones stand: docs/regions.md.

Each has its own Redis, doors, dispatcher, workers and upstream. They share PostgreSQL,
the media folder (for S3-compatible storage) and HAProxy in front.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from workers.embedded import folders, haproxy, postgres, processes, run, valkey
from workers.embedded import plan as plans
from workers.embedded.plan import HOST, Options, RunPlan
from workers.embedded.processes import ProcessCommand
from workers.embedded.supervisor import Program, Show, Supervisor

CONFIG = plans.ROOT / "deploy" / "regions" / "haproxy.cfg"
# The first is also where beat runs.
REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
NOBODY = f"{HOST}:1"  # where nothing listens
FRONT = plans.DOORS + 1
START_SECONDS = 180.0
_INHERITED = (
    *("PATH", "HOME", "LANG"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionsShape:
    """How much of it; ``is_lean``: one process serves both doors, one both queues."""

    regions: tuple[str, ...] = REGIONS
    threads: int = 10
    max_concurrent: int = 50
    max_per_minute: int = 980
    emulator: tuple[str, ...] = ()
    is_lean: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where everything is; a plan a region."""

    shape: RegionsShape
    options: Options
    plans: Mapping[str, RunPlan]
    live_ports: Mapping[str, int]

    @property
    def front(self) -> str:
        """The base URL that customers know."""
        return f"http://{HOST}:{self.options.port}"

    @property
    def admin(self) -> Path:
        """HAProxy's admin socket."""
        return self.options.data_dir / "haproxy.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The running regions."""

    stand: Stand
    supervisor: Supervisor
    api_key: str
    webhook_secret: str

    def write_ready_file(self) -> None:
        """Say where everything is, for whoever waits for it."""
        if path := self.stand.options.ready_file:
            folders.write_private(path, json.dumps(self._told(), indent=2) + "\n", None)

    def _told(self) -> dict[str, object]:
        stand = self.stand
        of_regions = {
            name: {
                "web": plan.web,
                "emulator": plan.emulator,
                "redis_url": plan.environment["REDIS_URL"],
            }
            for name, plan in stand.plans.items()
        }
        return {
            "front": stand.front,
            "api_key": self.api_key,
            "webhook_secret": self.webhook_secret,
            "database_url": plan_of(stand).environment["DATABASE_URL"],
            "regions": of_regions,
        }


@contextmanager
def running(options: Options, shape: RegionsShape, *, show: Show) -> Iterator[Regions]:
    """Yield the regions once all of them answer; stop all of it afterwards.

    Raises EmbeddedError when a process does not come up, StopAsked on Ctrl-C.
    """
    haproxy.find()
    with ExitStack() as stack:
        options.data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        stack.enter_context(run.locked(options))
        supervisor = stack.enter_context(Supervisor(show=show))
        stand = make_stand(
            options, shape, urls=_launch_servers(options, shape, supervisor)
        )
        made = launch(stand, supervisor)
        supervisor.wait_ready(seconds=START_SECONDS)
        plans.keep_api_key(options.data_dir, made["api_key"])
        regions = Regions(
            stand=stand,
            supervisor=supervisor,
            api_key=made["api_key"],
            webhook_secret=made["webhook_secret"],
        )
        plans.write_targets(options.data_dir, supervisor.programs)
        stack.enter_context(plans.steering(options, plan_of(stand).environment))
        regions.write_ready_file()
        yield regions


def make_stand(
    options: Options, shape: RegionsShape, *, urls: Mapping[str, str]
) -> Stand:
    """Choose ports and environments; ``urls`` are DATABASE_URL and a Redis a region."""
    options = replace(options, port=plans.free_or(options.port))
    redis_urls = {name: urls[name] for name in shape.regions}
    settings = {
        "BASE_URL": f"http://{HOST}:{options.port}",
        "REGION_REDIS_URLS": ",".join(f"{n}={url}" for n, url in redis_urls.items()),
        "TRUSTED_PROXIES": HOST,
        "TASK_EVENTS": "0",
        # HAProxy has noticed by then that a door is not ready: see its checks.
        "DRAIN_SECONDS": "3",
        # Of the database's 200, for five processes a region.
        "DB_POOL_SIZE": "12",
        **options.settings,
    }
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    made = {
        name: plans.make_plan(
            replace(options, port=0, settings={**settings, "SERVER_REGION": name}),
            urls={"DATABASE_URL": urls["DATABASE_URL"], "REDIS_URL": redis_urls[name]},
            inherited=inherited,
        )
        for name in shape.regions
    }
    live = {
        name: plan.web_port if shape.is_lean else processes.free_port()
        for name, plan in made.items()
    }
    return Stand(shape=shape, options=options, plans=made, live_ports=live)


def plan_of(stand: Stand) -> RunPlan:
    """Return the plan of the first region."""
    return stand.plans[stand.shape.regions[0]]


def launch(stand: Stand, supervisor: Supervisor) -> dict[str, str]:
    """Start all but the servers; return what `bootstrap` made."""
    home = plan_of(stand)
    for name, plan in stand.plans.items():
        supervisor.launch(
            plans.emulator(
                plan, f"emulator-{name}", *stand.shape.emulator, engine="canned"
            )
        )
    supervisor.run_once(plans.manage(home, "migrate", "--no-input", "-v", "0"))
    for name in stand.shape.regions:
        for program in programs(stand, name):
            supervisor.launch(program)
    if not stand.shape.is_lean:
        supervisor.launch(plans.beat(home))
    supervisor.launch(front(stand))
    made: dict[str, str] = json.loads(supervisor.run_once(_bootstrap(stand)))
    return made


def programs(stand: Stand, region: str) -> Iterator[Program]:
    """Yield the processes of ours in one region."""
    plan, threads = stand.plans[region], stand.shape.threads
    queues, hooks = f"transcribe.{region}", f"webhooks.{region},housekeeping"
    yield plans.dispatcher(plan, f"dispatcher-{region}", "--region", region)
    if stand.shape.is_lean:
        both = f"{queues},{hooks}"
        yield plans.worker(plan, f"worker-{region}", queues=both, threads=threads)
        yield plans.door(plan, f"web-{region}", "asgi", port=plan.web_port)
        return
    yield plans.worker(plan, f"worker-{region}", queues=queues, threads=threads)
    yield plans.worker(plan, f"webhooks-{region}", queues=hooks, threads=threads)
    threads_of_web = ("--blocking-threads", "160")
    yield plans.door(plan, f"web-{region}", "wsgi", *threads_of_web, port=plan.web_port)
    yield plans.door(plan, f"live-{region}", "asgi", port=stand.live_ports[region])


def front(stand: Stand) -> Program:
    """Return HAProxy; regions that are not here have no address."""
    addresses = {
        f"{kind}_{name.upper().replace('-', '_')}": NOBODY
        for kind in ("WEB", "LIVE")
        for name in REGIONS
    }
    for name, plan in stand.plans.items():
        variable = name.upper().replace("-", "_")
        addresses[f"WEB_{variable}"] = f"{HOST}:{plan.web_port}"
        addresses[f"LIVE_{variable}"] = f"{HOST}:{stand.live_ports[name]}"
    addresses["FRONT"] = f"{HOST}:{stand.options.port}"
    addresses["ADMIN_SOCKET"] = str(stand.admin)
    return haproxy.program(
        CONFIG,
        port=stand.options.port,
        log=stand.options.logs / "haproxy.log",
        environment={**processes.server_environment(), **addresses},
        stage=FRONT,
    )


def _launch_servers(
    options: Options, shape: RegionsShape, supervisor: Supervisor
) -> dict[str, str]:
    """Start PostgreSQL and a Valkey a region; return DATABASE_URL and theirs."""
    database = postgres.prepare(
        options.data_dir / "postgres",
        durable=options.durable,
        log=options.logs / "postgres.log",
    )
    supervisor.launch(plans.server(database, "postgres"))
    urls = {"DATABASE_URL": database.url}
    for name in shape.regions:
        service = valkey.prepare(
            options.data_dir / f"valkey-{name}",
            durable=False,  # it holds nothing that may not be lost
            log=options.logs / f"valkey-{name}.log",
        )
        supervisor.launch(plans.server(service, f"valkey-{name}"))
        urls[name] = service.url
    supervisor.wait_ready()
    return urls


def _bootstrap(stand: Stand) -> ProcessCommand:
    shape = stand.shape
    named = (f"{name}={plan.emulator}" for name, plan in stand.plans.items())
    return plans.manage(
        *(plan_of(stand), "bootstrap", "--json"),
        *(word for pair in named for word in ("--region", pair)),
        *("--max-concurrent", str(shape.max_concurrent)),
        *("--max-per-minute", str(shape.max_per_minute)),
    )
