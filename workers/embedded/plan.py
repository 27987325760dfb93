"""The processes of the platform and their environment.

Starts nothing. `deploy/` describes the same processes for production.
"""

import base64
import json
import os
import re
import secrets
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from workers.embedded import folders, probes, processes
from workers.embedded.processes import ProcessCommand, ServerProgram
from workers.embedded.supervisor import Program

ROOT = Path(__file__).parents[2]
REGION = "local"
HOST = "127.0.0.1"
# The kinds of processes that export metrics, each on its own port.
MEASURED = ("web", "live", "dispatcher", "worker", "webhooks", "beat")
SERVERS, UPSTREAM, ENGINE, WEB = range(4)  # stages: later ones stop earlier
SETTINGS = ROOT / "deploy" / "env.example"
# Specific to one process: other commands must not use its port or name.
_PER_PROCESS = {"METRICS_PORT", "OTEL_SERVICE_NAME"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of a run; `settings` are added to the environment of every process."""

    data_dir: Path
    durable: bool = True
    port: int = 8000
    ready_file: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.data_dir / "log"

    @property
    def script(self) -> Path:
        """The script that runs `manage.py` with the settings of this run."""
        return self.data_dir / "manage"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Addresses and environment of one run."""

    options: Options
    environment: Mapping[str, str]
    web_port: int
    flower_port: int
    emulator_port: int | None
    flower_login: str
    metrics_ports: Mapping[str, int]

    @property
    def web(self) -> str:
        """The base URL of the API and the pages."""
        return f"http://{HOST}:{self.web_port}"

    @property
    def flower(self) -> str:
        """The base URL of Flower."""
        return f"http://{HOST}:{self.flower_port}"

    @property
    def emulator(self) -> str:
        """The base URL of the emulator; empty with a real Deepgram key."""
        return f"http://{HOST}:{self.emulator_port}" if self.emulator_port else ""


def make_plan(
    options: Options,
    *,
    urls: Mapping[str, str],
    inherited: Mapping[str, str] = os.environ,
) -> RunPlan:
    """Choose ports and build the environment; inherited variables have priority."""
    stored = load_secrets(options.data_dir / "secrets.json")
    web_port = reserve_preferred_port(options.port)
    # Port 0 allows several runs at once.
    flower_port = reserve_preferred_port(5555 if options.port else 0)
    emulator_port = None if inherited.get("DEEPGRAM_API_KEY") else processes.free_port()
    defaults = {
        "SECRET_KEY": stored["secret_key"],
        "FIELD_ENCRYPTION_KEYS": stored["field_encryption_key"],
        "MEDIA_ROOT": str(options.data_dir / "media"),
        "PROBE_DIR": str(options.data_dir / "probes"),
        "BASE_URL": f"http://{HOST}:{web_port}",
        "DJANGO_SETTINGS_MODULE": "transcribe_platform.settings",
        "TASK_EVENTS": "1",  # Flower shows what runs
        "FLOWER_URL": f"http://{HOST}:{flower_port}",
        "FLOWER_TASKS_COLUMNS": "name,uuid,state,result,received,runtime,worker",
        "LOG_FORMAT": "console",  # logs are read on this machine
    }
    fixed = {
        "PYTHONUNBUFFERED": "1",
        "FLOWER_BASIC_AUTH": stored["flower_login"],  # `ps` shows arguments
        "BOOTSTRAP_API_KEY": stored.get("api_key", ""),
        **urls,
        **options.settings,
    }
    if emulator_port:
        fixed["DEEPGRAM_BASE_URL"] = f"http://{HOST}:{emulator_port}"
        fixed["DEEPGRAM_API_KEY"] = stored["emulator_key"]
    # Empty values, as in an unedited copy of env.example, do not override.
    overrides = {
        name: text for name, text in inherited.items() if text or name not in defaults
    }
    environment = {**defaults, **overrides, **fixed}
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Write no bytecode beside the sources, but compile Django only once.
        environment.setdefault("PYTHONPYCACHEPREFIX", str(options.data_dir / "pycache"))
    return RunPlan(
        options=options,
        environment=environment,
        web_port=web_port,
        flower_port=flower_port,
        emulator_port=emulator_port,
        flower_login=stored["flower_login"],
        metrics_ports={name: processes.free_port() for name in MEASURED},
    )


def metrics_addresses(programs: Iterable[Program]) -> dict[str, str]:
    """Return the metrics addresses of programs by name."""
    ports = {
        program.name: (program.command.env or {}).get("METRICS_PORT")
        for program in programs
    }
    return {name: f"{HOST}:{port}" for name, port in ports.items() if port}


def write_targets(data_dir: Path, programs: Iterable[Program]) -> None:
    """Write the target file for Prometheus' file_sd_configs."""
    targets = [
        {"targets": [address], "labels": {"process": kind_of(name)}}
        for name, address in metrics_addresses(programs).items()
    ]
    path = data_dir / "metrics-targets.json"
    path.write_text(json.dumps(targets, indent=2) + "\n")


@contextmanager
def manage_script(options: Options, environment: Mapping[str, str]) -> Iterator[None]:
    """Provide a script, for the time of the run, for `manage.py` with its settings.

    It sets them in its own shell; in the caller's shell the next `make up` would use
    the servers of this run.
    """
    names = re.findall(r"^([A-Z]\w+)=", SETTINGS.read_text(), re.MULTILINE)
    exports = [
        f"export {name}={shlex.quote(environment[name])}"
        for setting in names
        for name in (setting, f"{setting}_FILE")
        if environment.get(name) and name not in _PER_PROCESS
    ]
    command = shlex.join([sys.executable, str(ROOT / "manage.py")])
    if compiled := environment.get("PYTHONPYCACHEPREFIX"):
        exports.append(f"export PYTHONPYCACHEPREFIX={shlex.quote(compiled)}")
    lines = ["#!/bin/sh", *exports, f'exec {command} "$@"', ""]
    path = options.script
    folders.write_private(path, "\n".join(lines), None)
    path.chmod(0o700)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # its servers have stopped


def kind_of(name: str) -> str:
    """Return the kind of a process: "worker" of "worker-eu-west-1"."""
    return name.partition("-")[0]


def load_secrets(path: Path) -> dict[str, str]:
    """Return the secrets of a data folder; generates them on the first call."""
    stored: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    values = {
        "secret_key": secrets.token_urlsafe(48),
        "field_encryption_key": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "flower_login": f"operator:{secrets.token_urlsafe(12)}",
        "emulator_key": f"emulator-{secrets.token_hex(16)}",
    } | stored
    if values != stored:
        folders.write_private(path, json.dumps(values, indent=2) + "\n", None)
    return values


def store_api_key(data_dir: Path, key: str) -> None:
    """Store the first API key, so that the next run uses the same one."""
    path = data_dir / "secrets.json"
    stored = load_secrets(path)
    if stored.get("api_key") != key:
        stored["api_key"] = key
        folders.write_private(path, json.dumps(stored, indent=2) + "\n", None)


def server(service: ServerProgram, name: str) -> Program:
    """Return PostgreSQL or Valkey as a supervised program."""
    return Program(
        name=name,
        command=service.command,
        ready=lambda _started: service.ready(),
        address=f"{HOST}:{service.port}",
        stage=SERVERS,
        grace=20,
    )


def emulator(
    plan: RunPlan, name: str = "emulator", *words: str, engine: str = "pocketsphinx"
) -> Program:
    """Return the Deepgram emulator."""
    port = ("--engine", engine, "--port", str(plan.emulator_port))
    return Program(
        name=name,
        command=python(plan, name, "-m", "workers.emulator", *port, *words),
        ready=lambda started: started.answers(f"{plan.emulator}/v1/status"),
        address=plan.emulator,
        stage=UPSTREAM,
        grace=3,  # stores nothing
    )


def engine(plan: RunPlan) -> list[Program]:
    """Return dispatcher, workers, beat and Flower."""
    return [
        dispatcher(plan),
        worker(plan, "worker", queues=f"transcribe.{REGION}", threads=20),
        worker(plan, "webhooks", queues="webhooks,housekeeping", threads=10),
        beat(plan),
        Program(
            name="flower",
            command=_celery(
                *(plan, "flower", "flower"),
                *(f"--address={HOST}", f"--port={plan.flower_port}"),
            ),
            ready=lambda started: started.answers(plan.flower),
            address=plan.flower,
            stage=ENGINE,
        ),
    ]


def dispatcher(plan: RunPlan, name: str = "dispatcher", *words: str) -> Program:
    """Return a dispatcher."""
    database = plan.environment["DATABASE_URL"]
    return Program(
        name=name,
        command=python(plan, name, "manage.py", "run_dispatcher", *words),
        ready=lambda _started: probes.has_connected(database, name),
        stage=ENGINE,
    )


def beat(plan: RunPlan, name: str = "beat") -> Program:
    """Return Celery beat."""
    schedule = str(plan.options.data_dir / "beat-schedule")
    return Program(
        name=name,
        command=_celery(
            *(plan, name, "beat", "--loglevel=INFO"),
            *(f"--schedule={schedule}", "--pidfile="),
        ),
        ready=lambda started: started.has_logged("beat: Starting"),
        stage=ENGINE,
    )


def web(plan: RunPlan) -> Program:
    """Return the web process: REST, pages and WebSockets on one port."""
    return web_process(plan, "web", "asgi", port=plan.web_port)


# Pings and slow readers of sockets are served by threads of Rust, so that one client
# cannot occupy the only one.
_RUNTIMES: dict[str, tuple[str, ...]] = {
    "wsgi": (),
    "asgi": ("--runtime-mode", "mt", "--runtime-threads", "4"),
}


def web_process(
    plan: RunPlan,
    name: str,
    interface: str,
    *words: str,
    port: int,
    grace: float = 10.0,
) -> Program:
    """Return a web process: REST only with "wsgi", also WebSockets with "asgi"."""
    url = f"http://{HOST}:{port}"
    return Program(
        name=name,
        command=python(
            plan,
            name,
            *("-m", "granian", "--interface", interface, *_RUNTIMES[interface]),
            *words,
            *("--host", HOST, "--port", str(port), "--log-level", "warning"),
            "--respawn-failed-workers",
            f"transcribe_platform.{interface}:application",
        ),
        ready=lambda started: started.answers(f"{url}/health/ready"),
        address=url,
        stage=WEB,
        grace=grace,
    )


def manage(plan: RunPlan, *words: str) -> ProcessCommand:
    """Return a management command; its errors go to the log `manage`."""
    return python(plan, "manage", "manage.py", *words)


def bootstrap(plan: RunPlan, *words: str) -> ProcessCommand:
    """Return the command that migrates and creates the first tenant; prints JSON."""
    return manage(plan, "bootstrap", "--migrate", "--json", *words)


def python(plan: RunPlan, name: str, *words: str) -> ProcessCommand:
    """Return a Python command; `name` is its application name in PostgreSQL."""
    return ProcessCommand(
        argv=(sys.executable, *words),
        log=plan.options.logs / f"{name}.log",
        env={
            **plan.environment,
            "PGAPPNAME": name,
            "METRICS_PORT": str(plan.metrics_ports.get(kind_of(name), "")),
            "OTEL_SERVICE_NAME": f"transcription-{name}",
        },
        cwd=ROOT,
        stop_signal=Signals.SIGTERM,
    )


def worker(plan: RunPlan, name: str, *, queues: str, threads: int) -> Program:
    """Return a Celery worker on these queues."""
    database = plan.environment["DATABASE_URL"]
    return Program(
        name=name,
        command=_celery(
            *(plan, name, "worker", "--loglevel=INFO", "-P", "threads"),
            # One more thread than slots: see workers.queue.tasks.
            *("-c", str(threads + 1), "-Q", queues, "-n", f"{name}@%h"),
            *("--without-gossip", "--without-mingle"),
        ),
        ready=lambda started: probes.has_heartbeat(database, started.pid),
        stage=ENGINE,
    )


def _celery(plan: RunPlan, name: str, *words: str) -> ProcessCommand:
    app = ("-A", "transcribe_platform.celery")
    return python(plan, name, "-m", "celery", *app, *words)


def reserve_preferred_port(port: int) -> int:
    """Reserve the port, or a free one if it is in use or 0; return it."""
    is_reserved = port != 0 and processes.reserve_port(port)
    return port if is_reserved else processes.free_port()
