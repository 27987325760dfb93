"""What docker-compose.yml describes, as plain processes: its commands, its environment.

Only addresses differ, as all share one: each door has a port of its own, written into
HAProxy's configuration where DNS would have told it. Files lie in SeaweedFS where its
program is installed, else in a folder.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from workers.embedded import compose, folders, haproxy, probes, processes, run
from workers.embedded import plan as plans
from workers.embedded.compose import ComposeService
from workers.embedded.plan import HOST, Options, RunPlan
from workers.embedded.processes import ProcessCommand, free_port
from workers.embedded.supervisor import Program, Started, Supervisor
from workers.embedded.view import View

START_SECONDS = 240.0
# Nobody at this machine waits for a worker's half hour.
LONGEST_GRACE_SECONDS = 30.0
FRONT = plans.DOORS + 1
DOORS = ("web", "live")
BIN = Path(sys.executable).parent
# Compose wants them; here PostgreSQL and Valkey have passwords of their own.
_UNUSED = dict.fromkeys(("POSTGRES_PASSWORD", "REDIS_PASSWORD"), "unused")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineShape:
    """How many of a service, where not as many as the compose file says; 0 is none."""

    scale: Mapping[str, int] = field(default_factory=dict)

    def count(self, service: ComposeService) -> int:
        """Return how many run."""
        return self.scale.get(service.name, service.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The running platform."""

    plan: RunPlan
    supervisor: Supervisor
    about_port: int
    store: Mapping[str, str]
    api_key: str
    webhook_secret: str

    def write_ready_file(self) -> None:
        """Say where everything is, for whoever waits for it."""
        told = {
            "front": self.plan.web,
            "about": f"http://{HOST}:{self.about_port}",
            "api_key": self.api_key,
            "webhook_secret": self.webhook_secret,
            "database_url": self.plan.environment["DATABASE_URL"],
            "s3": {
                key: text for key, text in self.store.items() if key.startswith("S3_")
            },
            "pids": {
                child.program.name: child.process.pid
                for child in self.supervisor.children
            },
        }
        if path := self.plan.options.ready_file:
            folders.write_private(path, json.dumps(told, indent=2) + "\n", None)


@contextmanager
def running(options: Options, view: View, shape: MachineShape) -> Iterator[Machine]:
    """Yield the platform once all of it answers; stop all of it afterwards.

    Raises EmbeddedError when a process does not come up, StopAsked on Ctrl-C.
    """
    haproxy.find()
    with ExitStack() as stack:
        stack.callback(view.close)
        options.data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        stack.enter_context(run.locked(options))
        supervisor = stack.enter_context(Supervisor(show=view.show))
        urls = run.launch_servers(options, supervisor)
        plan = plans.make_plan(options, urls=urls)
        store = _launch_store(plan, supervisor)
        services = compose.read_services({**plan.environment, **store, **_UNUSED})
        starter = _Starter(plan, store)
        by_name = {service.name: service for service in services}
        if plan.emulator:
            supervisor.launch(starter.program(by_name.pop("emulator"), 1))
        migrate = starter.program(by_name.pop("migrate"), 1).command
        supervisor.run_once(migrate)
        for service in by_name.values():
            for number in range(1, shape.count(service) + 1):
                supervisor.launch(starter.program(service, number))
        about_port = free_port()
        supervisor.launch(_front(plan, starter.doors, about_port))
        region = by_name["worker"]
        made = json.loads(supervisor.run_once(_bootstrap(plan, _region_of(region))))
        plans.keep_api_key(options.data_dir, made["api_key"])
        supervisor.wait_ready(seconds=START_SECONDS)
        machine = Machine(
            plan=plan,
            supervisor=supervisor,
            about_port=about_port,
            store=store,
            api_key=made["api_key"],
            webhook_secret=made["webhook_secret"],
        )
        stack.enter_context(plans.steering(options, migrate.env or {}))
        machine.write_ready_file()
        yield machine


@dataclass(slots=True)
class _Starter:
    """Makes programs of services; ``doors`` are the addresses of those made so far."""

    plan: RunPlan
    store: Mapping[str, str]
    doors: dict[str, list[str]] = field(default_factory=dict)

    def program(self, service: ComposeService, number: int) -> Program:
        """Return one of a service's processes."""
        name = f"{service.name}-{number}" if service.replicas > 1 else service.name
        port = self._port_of(service)
        self.doors.setdefault(service.name, []).append(f"{HOST}:{port}")
        return Program(
            name=name,
            command=self._command(service, name, port),
            ready=self._readiness(service, name, port),
            address=f"http://{HOST}:{port}" if port else "",
            stage=plans.DOORS if service.name in DOORS else plans.ENGINE,
            grace=min(service.grace, LONGEST_GRACE_SECONDS),
        )

    def _port_of(self, service: ComposeService) -> int:
        if service.name == "emulator":
            return self.plan.emulator_port or 0
        if service.name == "flower":
            return self.plan.flower_port
        return free_port() if service.name in DOORS else 0

    def _command(self, service: ComposeService, name: str, port: int) -> ProcessCommand:
        """Return the compose file's command at this machine's addresses."""
        at_home = {
            "/tmp/": f"{self.plan.options.data_dir}/",  # noqa: S108  in containers
            "@%h": f"@{name}.%h",
            "0.0.0.0": HOST,  # noqa: S104  what is replaced
            "--port=5555": f"--port={port}",
            "--port=8100": f"--port={port}",
        }
        words = []
        for word in service.command:
            for there, here in at_home.items():
                word = word.replace(there, here)  # noqa: PLW2901
            words.append(word)
        return ProcessCommand(
            argv=tuple(words),
            log=self.plan.options.logs / f"{name}.log",
            env={
                **self.plan.environment,
                **service.environment,
                **self._own(name),
                "GRANIAN_HOST": HOST,
                "GRANIAN_PORT": str(port),
            },
            cwd=plans.ROOT,
        )

    def _own(self, name: str) -> dict[str, str]:
        """Return what is where it is on this machine, whatever the file says."""
        kept = self.plan.environment
        names = ("DATABASE_URL", "REDIS_URL", "MEDIA_ROOT")
        return {
            **{each: kept[each] for each in names},
            **self.store,
            "PGAPPNAME": name,
            "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}",
            "TRUSTED_PROXIES": HOST,
            # Each its own, as each container has.
            "PROBE_DIR": f"{self.plan.options.data_dir}/probes/{name}",
            "METRICS_HOST": HOST,
            "METRICS_PORT": str(free_port()),
        }

    def _readiness(
        self, service: ComposeService, name: str, port: int
    ) -> Callable[[Started], bool]:
        database = self.plan.environment["DATABASE_URL"]
        address = f"http://{HOST}:{port}"
        path = {
            "web": "/health/ready",
            "live": "/health/ready",
            "emulator": "/v1/status",
        }
        if port:
            return lambda _: probes.http_answers(address + path.get(service.name, ""))
        if "worker" in service.command:
            return lambda started: probes.has_beaten(database, started.pid)
        if service.name == "beat":
            return lambda started: started.has_logged("beat: Starting")
        return lambda _: probes.has_connected(database, name)


def _launch_store(plan: RunPlan, supervisor: Supervisor) -> dict[str, str]:
    """Start the S3 server if it is installed; return the settings of file storage."""
    program = BIN / "weed"
    if not program.exists():
        backend = "django.core.files.storage.FileSystemStorage"
        return {
            "STORAGE_BACKEND": backend,
            "S3_ACCESS_KEY": "unused",
            "S3_SECRET_KEY": "unused",
        }
    key, secret = "platform", plan.environment["SECRET_KEY"]
    folder = plan.options.data_dir / "s3"
    folder.mkdir(exist_ok=True)
    port = free_port()
    url = f"http://{HOST}:{port}"
    supervisor.launch(
        Program(
            name="s3",
            command=ProcessCommand(
                argv=(str(program), *store_words(folder, port)),
                log=plan.options.logs / "s3.log",
                env={
                    **processes.server_environment(),
                    "HOME": str(folder),
                    "AWS_ACCESS_KEY_ID": key,
                    "AWS_SECRET_ACCESS_KEY": secret,
                    "S3_BUCKET": "recordings",
                },
                cwd=folder,
            ),
            ready=lambda _: probes.http_answers(f"{url}/healthz"),
            address=url,
            stage=plans.SERVERS,
        )
    )
    return {"S3_ENDPOINT_URL": url, "S3_ACCESS_KEY": key, "S3_SECRET_KEY": secret}


def store_words(folder: Path, port: int) -> list[str]:
    """Return the compose file's words for it, on free loopback ports."""
    taken = {"s3.port": port, "s3.port.grpc": free_port()} | {
        f"{part}.port{more}": free_port()
        for part in ("master", "volume", "filer")
        for more in ("", ".grpc")
    }
    words = compose.read_command("s3")
    there = {"-dir=/data": f"-dir={folder}", "-ip=s3": f"-ip={HOST}"}
    here = [there.get(word, word).replace("=0.0.0.0", f"={HOST}") for word in words]
    return [*here, *(f"-{name}={number}" for name, number in taken.items())]


def _front(plan: RunPlan, doors: Mapping[str, list[str]], about_port: int) -> Program:
    written = plan.options.data_dir / "haproxy.cfg"
    written.write_text(compose.name_servers(compose.HAPROXY.read_text(), doors))
    return haproxy.program(
        written,
        port=plan.web_port,
        log=plan.options.logs / "haproxy.log",
        environment={
            **processes.server_environment(),
            "HTTP_BIND": f"{HOST}:{plan.web_port}",
            "ABOUT_BIND": f"{HOST}:{about_port}",
            "TLS_CERTIFICATE": "",
            "FRONT_PROXIES": "",
        },
        stage=FRONT,
    )


def _region_of(worker: ComposeService) -> str:
    queue = next(w for w in worker.command if w.startswith("--queues="))
    return queue.removeprefix("--queues=transcribe.")


def _bootstrap(plan: RunPlan, region: str) -> ProcessCommand:
    return plans.manage(plan, "bootstrap", "--json", "--region", region)
