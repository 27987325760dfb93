"""Runs the services of docker-compose.yml as plain processes on one machine.

Only addresses differ: each web process has its own port, written to HAProxy's
configuration instead of DNS names. Files are stored in SeaweedFS if it is installed,
or else in a folder. deploy/run_processes is the command.
"""

import json
import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import command, compose, haproxy
from deploy.local.compose import ComposeService
from workers.embedded import folders, probes, processes, run
from workers.embedded import plan as plans
from workers.embedded.plan import HOST, Options, RunPlan
from workers.embedded.processes import ProcessCommand, free_port
from workers.embedded.supervisor import Program, StartedProcess, Supervisor
from workers.embedded.view import View

START_SECONDS = 240.0
# Upper limit of the stop grace periods, which are up to 30 min in the compose file.
MAX_GRACE_SECONDS = 30.0
FRONT = plans.WEB + 1
WEB_SERVICES = ("web", "live")
BIN = Path(sys.executable).parent
# Required by the compose file; here PostgreSQL and Valkey have generated passwords.
_UNUSED = dict.fromkeys(("POSTGRES_PASSWORD", "REDIS_PASSWORD"), "unused")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineShape:
    """Overrides the number of replicas per service; 0 omits a service."""

    scale: Mapping[str, int] = field(default_factory=dict)

    def count(self, service: ComposeService) -> int:
        """Return the number of processes of a service."""
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

    def describe(self) -> str:
        """Return its addresses, keys and folders for the terminal."""
        plan = self.plan
        return f"""
  Front     {plan.web}/v1/   (Authorization: Bearer {self.api_key})
  Flower    {plan.flower}   ({plan.flower_login})
  Upstream  {plan.emulator or "Deepgram"}
  Webhooks  signed with {self.webhook_secret}
  Manage    {plan.options.script} create_operator NAME --role operator   (then /admin/)
  Logs      {plan.options.logs}   (haproxy.log: which process served what)
"""

    def write_ready_file(self) -> None:
        """Write URLs, keys and pids to the ready file."""
        content = {
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
            folders.write_private(path, json.dumps(content, indent=2) + "\n", None)


@contextmanager
def running(options: Options, view: View, shape: MachineShape) -> Iterator[Machine]:
    """Yield the platform once all processes are ready; stop them afterwards.

    Raises EmbeddedError when a process does not start, StopRequested on Ctrl-C.
    """
    haproxy.find()
    with ExitStack() as stack:
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
        supervisor.launch(_front(plan, starter.web_addresses, about_port))
        region = by_name["worker"]
        created = json.loads(supervisor.run_once(_bootstrap(plan, _region_of(region))))
        plans.store_api_key(options.data_dir, created["api_key"])
        supervisor.wait_ready(seconds=START_SECONDS)
        machine = Machine(
            plan=plan,
            supervisor=supervisor,
            about_port=about_port,
            store=store,
            api_key=created["api_key"],
            webhook_secret=created["webhook_secret"],
        )
        stack.enter_context(plans.manage_script(options, migrate.env or {}))
        machine.write_ready_file()
        yield machine


@dataclass(slots=True)
class _Starter:
    """Builds programs of services; collects the addresses of web processes."""

    plan: RunPlan
    store: Mapping[str, str]
    web_addresses: dict[str, list[str]] = field(default_factory=dict)

    def program(self, service: ComposeService, number: int) -> Program:
        """Return one process of a service."""
        name = f"{service.name}-{number}" if service.replicas > 1 else service.name
        port = self._port_of(service)
        self.web_addresses.setdefault(service.name, []).append(f"{HOST}:{port}")
        return Program(
            name=name,
            command=self._command(service, name, port),
            ready=self._readiness(service, name, port),
            address=f"http://{HOST}:{port}" if port else "",
            stage=plans.WEB if service.name in WEB_SERVICES else plans.ENGINE,
            grace=min(service.grace, MAX_GRACE_SECONDS),
        )

    def _port_of(self, service: ComposeService) -> int:
        if service.name == "emulator":
            return self.plan.emulator_port or 0
        if service.name == "flower":
            return self.plan.flower_port
        return free_port() if service.name in WEB_SERVICES else 0

    def _command(self, service: ComposeService, name: str, port: int) -> ProcessCommand:
        """Return the compose file's command with local addresses."""
        replacements = {
            "/tmp/": f"{self.plan.options.data_dir}/",  # noqa: S108  in containers
            "@%h": f"@{name}.%h",
            "0.0.0.0": HOST,  # noqa: S104  replaced
            "--port=5555": f"--port={port}",
            "--port=8100": f"--port={port}",
        }
        argv = []
        for word in service.command:
            for original, local in replacements.items():
                word = word.replace(original, local)  # noqa: PLW2901
            argv.append(word)
        return ProcessCommand(
            argv=tuple(argv),
            log=self.plan.options.logs / f"{name}.log",
            env={
                **self.plan.environment,
                **service.environment,
                **self._local_environment(name),
                "GRANIAN_HOST": HOST,
                "GRANIAN_PORT": str(port),
            },
            cwd=plans.ROOT,
        )

    def _local_environment(self, name: str) -> dict[str, str]:
        """Return the variables that override those of the compose file."""
        environment = self.plan.environment
        names = ("DATABASE_URL", "REDIS_URL", "MEDIA_ROOT")
        return {
            **{variable: environment[variable] for variable in names},
            **self.store,
            "PGAPPNAME": name,
            "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}",
            "TRUSTED_PROXIES": HOST,
            # One per process, as one per container.
            "PROBE_DIR": f"{self.plan.options.data_dir}/probes/{name}",
            "METRICS_HOST": HOST,
            "METRICS_PORT": str(free_port()),
        }

    def _readiness(
        self, service: ComposeService, name: str, port: int
    ) -> Callable[[StartedProcess], bool]:
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
            return lambda started: probes.has_heartbeat(database, started.pid)
        if service.name == "beat":
            return lambda started: started.has_logged("beat: Starting")
        return lambda _: probes.has_connected(database, name)


def _launch_store(plan: RunPlan, supervisor: Supervisor) -> dict[str, str]:
    """Start the S3 server if installed; return the storage settings."""
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
                argv=(str(program), *store_arguments(folder, port)),
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


def store_arguments(folder: Path, port: int) -> list[str]:
    """Return the compose file's arguments of the S3 server, on free loopback ports."""
    ports = {"s3.port": port, "s3.port.grpc": free_port()} | {
        f"{part}.port{suffix}": free_port()
        for part in ("master", "volume", "filer")
        for suffix in ("", ".grpc")
    }
    words = compose.read_command("s3")
    replacements = {"-dir=/data": f"-dir={folder}", "-ip=s3": f"-ip={HOST}"}
    local = [
        replacements.get(word, word).replace("=0.0.0.0", f"={HOST}") for word in words
    ]
    return [*local, *(f"-{name}={number}" for name, number in ports.items())]


def _front(
    plan: RunPlan, web_addresses: Mapping[str, list[str]], about_port: int
) -> Program:
    config = plan.options.data_dir / "haproxy.cfg"
    config.write_text(compose.name_servers(compose.HAPROXY.read_text(), web_addresses))
    return haproxy.program(
        config,
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


def _scale(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not (name and number.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not like worker=3")
    return name, int(number)


def main() -> None:
    """Run the services until SIGINT or SIGTERM."""
    parser = command.build_parser(__doc__, folder="var/processes", port=8000)
    parser.add_argument(
        "--scale",
        type=_scale,
        action="append",
        default=[],
        metavar="SERVICE=NUMBER",
        help="processes of a service, like `docker compose up --scale`",
    )
    arguments = parser.parse_args()
    shape = MachineShape(scale=dict(arguments.scale))
    command.supervise(arguments, lambda options, view: running(options, view, shape))


if __name__ == "__main__":
    main()
