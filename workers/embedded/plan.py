"""Say which processes make up the platform, and with what environment.

Decides and starts nothing. Production says the same in `deploy/`, one container each.
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
# The kinds of processes that show metrics, each on a port of its own.
MEASURED = ("web", "live", "dispatcher", "worker", "webhooks", "beat")
SERVERS, UPSTREAM, ENGINE, DOORS = range(4)  # stages: later ones stop earlier
SETTINGS = ROOT / "deploy" / "env.example"
# One process's own; a command beside it would want the same port, or pass for it.
_OWN = {"METRICS_PORT", "OTEL_SERVICE_NAME"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the operator chose; `settings` go to every process's environment."""

    data_dir: Path
    durable: bool = True
    port: int = 8000
    ready_file: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        """Where each process's log goes."""
        return self.data_dir / "log"

    @property
    def steer(self) -> Path:
        """`manage.py` with the settings of the run, while it lasts."""
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
        """The base URL of the emulator; empty when a real key was given."""
        return f"http://{HOST}:{self.emulator_port}" if self.emulator_port else ""


def make_plan(
    options: Options,
    *,
    urls: Mapping[str, str],
    inherited: Mapping[str, str] = os.environ,
) -> RunPlan:
    """Choose ports and write the environment; what the operator set there wins."""
    kept = load_secrets(options.data_dir / "secrets.json")
    web_port = free_or(options.port)
    # Whoever leaves the port of the one to us may start many at once.
    flower_port = free_or(5555 if options.port else 0)
    emulator_port = None if inherited.get("DEEPGRAM_API_KEY") else processes.free_port()
    ours = {
        "SECRET_KEY": kept["secret_key"],
        "FIELD_ENCRYPTION_KEYS": kept["field_encryption_key"],
        "MEDIA_ROOT": str(options.data_dir / "media"),
        "PROBE_DIR": str(options.data_dir / "probes"),
        "BASE_URL": f"http://{HOST}:{web_port}",
        "DJANGO_SETTINGS_MODULE": "transcribe_platform.settings",
        "TASK_EVENTS": "1",  # Flower shows what runs
        "FLOWER_URL": f"http://{HOST}:{flower_port}",
        "FLOWER_READ_ONLY": "1",  # who steers there leaves no audit and is not obeyed
        "FLOWER_TASKS_COLUMNS": "name,uuid,state,result,received,runtime,worker",
        "LOG_FORMAT": "console",  # whoever reads these logs sits at this machine
    }
    fixed = {
        "PYTHONUNBUFFERED": "1",
        "FLOWER_BASIC_AUTH": kept["flower_login"],  # not an argument: `ps` shows those
        "BOOTSTRAP_API_KEY": kept.get("api_key", ""),
        **urls,
        **options.settings,
    }
    if emulator_port:
        fixed["DEEPGRAM_BASE_URL"] = f"http://{HOST}:{emulator_port}"
        fixed["DEEPGRAM_API_KEY"] = kept["emulator_key"]
    # A copy of env.example that is not filled in says nothing with what is empty.
    given = {name: text for name, text in inherited.items() if text or name not in ours}
    environment = {**ours, **given, **fixed}
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Leave no traces beside the sources, but do not compile Django nine times.
        environment.setdefault("PYTHONPYCACHEPREFIX", str(options.data_dir / "pycache"))
    return RunPlan(
        options=options,
        environment=environment,
        web_port=web_port,
        flower_port=flower_port,
        emulator_port=emulator_port,
        flower_login=kept["flower_login"],
        metrics_ports={name: processes.free_port() for name in MEASURED},
    )


def metrics_addresses(programs: Iterable[Program]) -> dict[str, str]:
    """Return where programs show their metrics, by their names."""
    ports = {it.name: (it.command.env or {}).get("METRICS_PORT") for it in programs}
    return {name: f"{HOST}:{port}" for name, port in ports.items() if port}


def write_targets(data_dir: Path, programs: Iterable[Program]) -> None:
    """Write the file that Prometheus' file_sd_configs reads."""
    targets = [
        {"targets": [address], "labels": {"process": kind_of(name)}}
        for name, address in metrics_addresses(programs).items()
    ]
    path = data_dir / "metrics-targets.json"
    path.write_text(json.dumps(targets, indent=2) + "\n")


@contextmanager
def steering(options: Options, environment: Mapping[str, str]) -> Iterator[None]:
    """Keep a program while this runs: `manage.py` with the settings of this run.

    Its own shell takes them, not the caller's: the next `make up` there would look
    for this run's servers.
    """
    known = re.findall(r"^([A-Z]\w+)=", SETTINGS.read_text(), re.MULTILINE)
    exports = [
        f"export {name}={shlex.quote(environment[name])}"
        for each in known
        for name in (each, f"{each}_FILE")
        if environment.get(name) and name not in _OWN
    ]
    command = shlex.join([sys.executable, str(ROOT / "manage.py")])
    if compiled := environment.get("PYTHONPYCACHEPREFIX"):
        exports.append(f"export PYTHONPYCACHEPREFIX={shlex.quote(compiled)}")
    lines = ["#!/bin/sh", *exports, f'exec {command} "$@"', ""]
    path = options.steer
    folders.write_private(path, "\n".join(lines), None)
    path.chmod(0o700)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # the servers that it names are gone


def kind_of(name: str) -> str:
    """Return what a process is: "worker" of "worker-eu-west-1"."""
    return name.partition("-")[0]


def load_secrets(path: Path) -> dict[str, str]:
    """Return the secrets of a data folder; made once, so that restarts can decrypt."""
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    made = {
        "secret_key": secrets.token_urlsafe(48),
        "field_encryption_key": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "flower_login": f"operator:{secrets.token_urlsafe(12)}",
        "emulator_key": f"emulator-{secrets.token_hex(16)}",
    } | kept
    if made != kept:
        folders.write_private(path, json.dumps(made, indent=2) + "\n", None)
    return made


def keep_api_key(data_dir: Path, key: str) -> None:
    """Keep the first API key, so that the next run shows the same one."""
    path = data_dir / "secrets.json"
    kept = load_secrets(path)
    if kept.get("api_key") != key:
        kept["api_key"] = key
        folders.write_private(path, json.dumps(kept, indent=2) + "\n", None)


def server(service: ServerProgram, name: str) -> Program:
    """Return PostgreSQL or Valkey as a program of the supervisor."""
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
    """Return the stand-in for Deepgram."""
    port = ("--engine", engine, "--port", str(plan.emulator_port))
    return Program(
        name=name,
        command=python(plan, name, "-m", "workers.emulator", *port, *words),
        ready=lambda _started: probes.http_answers(f"{plan.emulator}/v1/status"),
        address=plan.emulator,
        stage=UPSTREAM,
        grace=3,  # it keeps nothing
    )


def engine(plan: RunPlan) -> list[Program]:
    """Return the processes that move jobs."""
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
            ready=lambda _started: probes.http_answers(plan.flower),
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
    """Return the one process that calls the others by the clock."""
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
    """Return the one web process: REST, pages and sockets on one port."""
    return door(plan, "web", "asgi", port=plan.web_port)


def door(
    plan: RunPlan,
    name: str,
    interface: str,
    *words: str,
    port: int,
    grace: float = 10.0,
) -> Program:
    """Return a web process: REST by "wsgi", all of it by "asgi"."""
    url = f"http://{HOST}:{port}"
    return Program(
        name=name,
        command=python(
            plan,
            name,
            *("-m", "granian", "--interface", interface, *words),
            *("--host", HOST, "--port", str(port), "--log-level", "warning"),
            "--respawn-failed-workers",
            f"transcribe_platform.{interface}:application",
        ),
        ready=lambda _started: probes.http_answers(f"{url}/health/ready"),
        address=url,
        stage=DOORS,
        grace=grace,
    )


def manage(plan: RunPlan, *words: str) -> ProcessCommand:
    """Return a short management command; its errors go to the log `manage`."""
    return python(plan, "manage", "manage.py", *words)


def python(plan: RunPlan, name: str, *words: str) -> ProcessCommand:
    """Return a command of this interpreter, known to PostgreSQL by its name."""
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
    """Return a worker of so many threads on these queues."""
    database = plan.environment["DATABASE_URL"]
    return Program(
        name=name,
        command=_celery(
            *(plan, name, "worker", "--loglevel=INFO", "-P", "threads"),
            # One more than may be busy: see workers.queue.tasks.
            *("-c", str(threads + 1), "-Q", queues, "-n", f"{name}@%h"),
            *("--without-gossip", "--without-mingle"),
        ),
        ready=lambda started: probes.has_beaten(database, started.pid),
        stage=ENGINE,
    )


def _celery(plan: RunPlan, name: str, *words: str) -> ProcessCommand:
    app = ("-A", "transcribe_platform.celery")
    return python(plan, name, "-m", "celery", *app, *words)


def free_or(port: int) -> int:
    """Return the port, or a free one where it is taken or 0."""
    is_taken = port == 0 or processes.port_is_open(port)
    return processes.free_port() if is_taken else port
