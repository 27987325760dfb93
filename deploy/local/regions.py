"""Runs several regions on one machine: docs/regions.md.

Each region has Redis, web processes, dispatcher, workers and emulator. They share
PostgreSQL, the media folder (instead of S3) and HAProxy. The upstreams are always
emulators.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local import command, haproxy
from workers.embedded import folders, postgres, processes, run, valkey
from workers.embedded import plan as plans
from workers.embedded.plan import HOST, Options, RunPlan
from workers.embedded.processes import ProcessCommand
from workers.embedded.supervisor import Program, Show, Supervisor

CONFIG = plans.ROOT / "deploy" / "regions" / "haproxy.cfg"
# The first one also runs beat.
REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
UNUSED_ADDRESS = f"{HOST}:1"  # nothing listens here
FRONT = plans.WEB + 1
START_SECONDS = 180.0
_INHERITED = (
    *("PATH", "HOME", "LANG"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionsShape:
    """Size of the run; ``is_lean``: one web process and one worker per region."""

    regions: tuple[str, ...] = REGIONS
    threads: int = 10
    max_concurrent: int = 50
    max_per_minute: int = 980
    emulator: tuple[str, ...] = ()
    is_lean: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionsLayout:
    """Addresses of the run: one plan per region."""

    shape: RegionsShape
    options: Options
    plans: Mapping[str, RunPlan]
    live_ports: Mapping[str, int]

    @property
    def front(self) -> str:
        """The base URL of HAProxy."""
        return f"http://{HOST}:{self.options.port}"

    @property
    def admin(self) -> Path:
        """HAProxy's admin socket."""
        return self.options.data_dir / "haproxy.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The running regions."""

    layout: RegionsLayout
    supervisor: Supervisor
    api_key: str
    webhook_secret: str

    def describe(self) -> str:
        """Return its addresses, keys and folders for the terminal."""
        layout = self.layout
        web_processes = "\n".join(
            f"  {name:<10}{plan.web}   upstream {plan.emulator}"
            for name, plan in layout.plans.items()
        )
        return f"""
  Front     {layout.front}/v1/   (Authorization: Bearer {self.api_key})
{web_processes}
  Webhooks  signed with {self.webhook_secret}
  HAProxy   echo 'show stat' | socat stdio {layout.admin}
  Manage    {layout.options.script} create_operator NAME --role operator  (then /admin/)
  Logs      {layout.options.logs}
"""

    def write_ready_file(self) -> None:
        """Write URLs and keys to the ready file."""
        if path := self.layout.options.ready_file:
            folders.write_private(
                path, json.dumps(self._addresses(), indent=2) + "\n", None
            )

    def _addresses(self) -> dict[str, object]:
        layout = self.layout
        region_urls = {
            name: {
                "web": plan.web,
                "emulator": plan.emulator,
                "redis_url": plan.environment["REDIS_URL"],
            }
            for name, plan in layout.plans.items()
        }
        return {
            "front": layout.front,
            "api_key": self.api_key,
            "webhook_secret": self.webhook_secret,
            "database_url": get_first_plan(layout).environment["DATABASE_URL"],
            "regions": region_urls,
        }


@contextmanager
def running(options: Options, shape: RegionsShape, *, show: Show) -> Iterator[Regions]:
    """Yield the regions once all processes are ready; stop them afterwards.

    Raises EmbeddedError when a process does not start, StopRequested on Ctrl-C.
    """
    haproxy.find()
    with ExitStack() as stack:
        options.data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        stack.enter_context(run.locked(options))
        supervisor = stack.enter_context(Supervisor(show=show))
        layout = make_layout(
            options, shape, urls=_launch_servers(options, shape, supervisor)
        )
        created = launch(layout, supervisor)
        supervisor.wait_ready(seconds=START_SECONDS)
        plans.store_api_key(options.data_dir, created["api_key"])
        regions = Regions(
            layout=layout,
            supervisor=supervisor,
            api_key=created["api_key"],
            webhook_secret=created["webhook_secret"],
        )
        plans.write_targets(options.data_dir, supervisor.programs)
        stack.enter_context(
            plans.manage_script(options, get_first_plan(layout).environment)
        )
        regions.write_ready_file()
        yield regions


def make_layout(
    options: Options, shape: RegionsShape, *, urls: Mapping[str, str]
) -> RegionsLayout:
    """Choose ports and environments; ``urls``: DATABASE_URL, a Redis per region."""
    options = replace(options, port=plans.reserve_preferred_port(options.port))
    redis_urls = {name: urls[name] for name in shape.regions}
    settings = {
        "BASE_URL": f"http://{HOST}:{options.port}",
        "REGION_REDIS_URLS": ",".join(f"{n}={url}" for n, url in redis_urls.items()),
        "TRUSTED_PROXIES": HOST,
        "TASK_EVENTS": "0",
        # Time for HAProxy's health checks to notice that a process is not ready.
        "DRAIN_SECONDS": "3",
        # Shares the database's 200 connections among five processes per region.
        "DB_POOL_SIZE": "12",
        **options.settings,
    }
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    region_plans = {
        name: plans.make_plan(
            replace(options, port=0, settings={**settings, "SERVER_REGION": name}),
            urls={"DATABASE_URL": urls["DATABASE_URL"], "REDIS_URL": redis_urls[name]},
            inherited=inherited,
        )
        for name in shape.regions
    }
    live = {
        name: plan.web_port if shape.is_lean else processes.free_port()
        for name, plan in region_plans.items()
    }
    return RegionsLayout(
        shape=shape, options=options, plans=region_plans, live_ports=live
    )


def get_first_plan(layout: RegionsLayout) -> RunPlan:
    """Return the plan of the first region."""
    return layout.plans[layout.shape.regions[0]]


def launch(layout: RegionsLayout, supervisor: Supervisor) -> dict[str, str]:
    """Start all processes except the servers; return the output of `bootstrap`."""
    home = get_first_plan(layout)
    for name, plan in layout.plans.items():
        supervisor.launch(
            plans.emulator(
                plan, f"emulator-{name}", *layout.shape.emulator, engine="canned"
            )
        )
    created: dict[str, str] = json.loads(supervisor.run_once(_bootstrap(layout)))
    for name in layout.shape.regions:
        for program in programs(layout, name):
            supervisor.launch(program)
    if not layout.shape.is_lean:
        supervisor.launch(plans.beat(home))
    supervisor.launch(front(layout))
    return created


def programs(layout: RegionsLayout, region: str) -> Iterator[Program]:
    """Yield the platform's processes of one region."""
    plan, threads = layout.plans[region], layout.shape.threads
    queues, hooks = f"transcribe.{region}", f"webhooks.{region},housekeeping"
    yield plans.dispatcher(plan, f"dispatcher-{region}", "--region", region)
    if layout.shape.is_lean:
        both = f"{queues},{hooks}"
        yield plans.worker(plan, f"worker-{region}", queues=both, threads=threads)
        yield plans.web_process(plan, f"web-{region}", "asgi", port=plan.web_port)
        return
    yield plans.worker(plan, f"worker-{region}", queues=queues, threads=threads)
    yield plans.worker(plan, f"webhooks-{region}", queues=hooks, threads=threads)
    web_threads = ("--blocking-threads", "160")
    yield plans.web_process(
        plan, f"web-{region}", "wsgi", *web_threads, port=plan.web_port
    )
    yield plans.web_process(
        plan, f"live-{region}", "asgi", port=layout.live_ports[region]
    )


def front(layout: RegionsLayout) -> Program:
    """Return HAProxy; regions that do not run have an unused address."""
    addresses = {
        f"{kind}_{name.upper().replace('-', '_')}": UNUSED_ADDRESS
        for kind in ("WEB", "LIVE")
        for name in REGIONS
    }
    for name, plan in layout.plans.items():
        variable = name.upper().replace("-", "_")
        addresses[f"WEB_{variable}"] = f"{HOST}:{plan.web_port}"
        addresses[f"LIVE_{variable}"] = f"{HOST}:{layout.live_ports[name]}"
    addresses["FRONT"] = f"{HOST}:{layout.options.port}"
    addresses["ADMIN_SOCKET"] = str(layout.admin)
    return haproxy.program(
        CONFIG,
        port=layout.options.port,
        log=layout.options.logs / "haproxy.log",
        environment={**processes.server_environment(), **addresses},
        stage=FRONT,
    )


def _launch_servers(
    options: Options, shape: RegionsShape, supervisor: Supervisor
) -> dict[str, str]:
    """Start PostgreSQL and one Valkey per region; return their URLs."""
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
            durable=False,  # its data can be lost
            log=options.logs / f"valkey-{name}.log",
        )
        supervisor.launch(plans.server(service, f"valkey-{name}"))
        urls[name] = service.url
    supervisor.wait_ready()
    return urls


def _bootstrap(layout: RegionsLayout) -> ProcessCommand:
    shape = layout.shape
    named = (f"{name}={plan.emulator}" for name, plan in layout.plans.items())
    return plans.bootstrap(
        get_first_plan(layout),
        *(word for pair in named for word in ("--region", pair)),
        *("--max-concurrent", str(shape.max_concurrent)),
        *("--max-per-minute", str(shape.max_per_minute)),
    )


def main() -> None:
    """Run the regions until SIGINT or SIGTERM."""
    parser = command.build_parser(__doc__, folder="var/regions", port=8100)
    command.supervise(
        parser.parse_args(),
        lambda options, view: running(options, RegionsShape(), show=view.show),
    )


if __name__ == "__main__":
    main()
