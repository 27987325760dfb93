"""The whole platform behind HAProxy, as real processes, and what it says of itself.

Clocks and disks belong to the run: a library gives each of our processes a clock that
a file moves, and the folder of the media is a small tmpfs. Where the machine has no
such library or allows no mounts, the outages that need them are skipped.
"""

import json
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import compose, haproxy
from tests.chaos.platform import (
    Platform,
    Setup,
    find_members,
    inherited,
    launch_servers,
)
from tests.chaos.receiver import listening
from tests.chaos.upstream import Upstream
from workers.embedded import plan as plans
from workers.embedded import processes
from workers.embedded.binaries import scratch_folder
from workers.embedded.plan import HOST, Options, RunPlan
from workers.embedded.supervisor import Program, Supervisor

MEDIA_BYTES = 8 << 20
CLOCK = "clock.so"
FRONT = plans.WEB + 1
NO_RESPONSE = "no response"
TIMEOUT_SECONDS = 8.0
_OPERATOR = "watch"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """The samples of all processes at one time, as Prometheus stores them."""

    at: float
    samples: Mapping[tuple[str, Labels], float]

    def find(self, selector: str) -> float | None:
        """Return the largest sample of `name{label="value"}`, None if there is none."""
        name, _, rest = selector.partition("{")
        wanted = set(re.findall(r'(\w+)="([^"]*)"', rest))
        found = [
            value
            for (each, labels), value in self.samples.items()
            if each == name and wanted <= set(labels)
        ]
        return max(found, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What health, readiness and the operators' overview say."""

    status: str
    parts: Mapping[str, str]
    ready: int
    checks: Mapping[str, str]
    page: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Stand:
    """A platform that is observed, and how it looks while all is well."""

    platform: Platform
    operator: httpx.Client
    metrics: Mapping[str, str]  # addresses by process
    has_own_disk: bool = False
    # Alerts that fire all the time, because a process is not part of the run.
    lacking: frozenset[str] = frozenset()
    well: Observation = field(init=False)
    before: tuple[Scrape, Scrape] = field(init=False)

    def observe(self) -> Observation:
        """Ask a web process, not through HAProxy."""
        _, health = self._get("/health")
        code, ready = self._get("/health/ready")
        statistics, page = self._get("/admin/figures/now/")
        texts = [alert["text"] for alert in page.get("troubles", ())]
        return Observation(
            status=health.get("status", NO_RESPONSE),
            parts=health.get("parts", {}),
            ready=code,
            checks=ready.get("checks", {}),
            page=tuple(texts) if statistics == 200 else (NO_RESPONSE,),
        )

    def submit(self, **fields: str) -> str:
        """Submit a job through a web process; return its id, "" if it is rejected."""
        inbox = self.platform.inbox
        body = {
            "audio_url": inbox.audio_url,
            "callback_url": inbox.hook_url,
            **fields,
        }
        key = {"authorization": f"Bearer {self.platform.api_key}"}
        with suppress(httpx.HTTPError):
            response = self.operator.post("/v1/jobs", json=body, headers=key)
            if response.status_code == 202:
                return str(response.json()["id"])
        return ""

    def explain(self, job: str) -> str:
        """Return why a job waits, else its status, or "delivered" after its webhook."""
        key = {"authorization": f"Bearer {self.platform.api_key}"}
        _, body = self._get(f"/v1/jobs/{job}", headers=key)
        if "job.completed" in self.platform.inbox.types.get(job, ()):
            return "delivered"
        waiting = body.get("waiting") or {}
        return str(waiting.get("reason") or body.get("status", NO_RESPONSE))

    def scrape(self) -> Scrape:
        """Read the metrics of every process; `up` says which respond."""
        samples: dict[tuple[str, Labels], float] = {}
        for name, address in self.metrics.items():
            job = "haproxy" if name == "haproxy" else "transcription"
            own = (("instance", address), ("job", job), ("process", name))
            try:
                text = httpx.get(
                    f"http://{address}/metrics", timeout=5, trust_env=False
                ).text
            except httpx.HTTPError:
                samples["up", own] = 0.0
                continue
            samples["up", own] = 1.0
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    labels = tuple(sorted({**sample.labels, **dict(own)}.items()))
                    samples[sample.name, labels] = sample.value
        return Scrape(at=time.time(), samples=samples)

    def scrape_twice(self) -> tuple[Scrape, Scrape]:
        """Scrape twice, with time for counters to rise in between."""
        first = self.scrape()
        began = time.monotonic()
        self.wait(
            lambda: time.monotonic() > began + 3, seconds=30, what="counters rise"
        )
        return first, self.scrape()

    def learn(self) -> Self:
        """Remember how all looks now, while nothing is wrong."""
        self.well, self.before = self.observe(), self.scrape_twice()
        return self

    def find_missing(self, need: str) -> str:
        """Return why an outage cannot be produced here, "" if it can."""
        if need == "mount" and not self.has_own_disk:
            return "this user may not mount a tmpfs"
        folder = self.platform.plan.options.data_dir
        if need == "clock" and not (folder / CLOCK).exists():
            return "there is no C compiler"
        return ""

    def wait(self, until: Callable[[], bool], *, seconds: float, what: str) -> None:
        self.platform.wait(until, seconds=seconds, what=what)

    def connect(self, **changes: str) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the database as its superuser, without a transaction.

        The session may write while the server is read-only.
        """
        url = self.platform.plan.environment["DATABASE_URL"]
        options = {"options": "-c default_transaction_read_only=off", **changes}
        return psycopg.connect(url, autocommit=True, connect_timeout=5, **options)

    def run(self, *statements: str, **changes: str) -> list[tuple[Any, ...]]:
        """Run statements and return the rows of the last one that has some."""
        rows: list[tuple[Any, ...]] = []
        with self.connect(**changes) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else rows
        return rows

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel the jobs that have not ended."""
        key = {"authorization": f"Bearer {self.platform.api_key}"}
        for job in jobs:
            self.operator.post(f"/v1/jobs/{job}/cancel", headers=key)

    def wait_ended(self, jobs: Iterable[str]) -> None:
        """Wait until jobs have ended, and webhooks of completed ones are delivered."""
        ended = {"delivered", "failed", "canceled", "expired"}
        for job in jobs:
            self.wait(
                lambda job=job: not job or self.explain(job) in ended,
                seconds=120,
                what=f"job {job} ends, which waits: {self.explain(job)}",
            )

    def manage(self, *words: str) -> str:
        """Run a management command as an operator does."""
        return self.platform.supervisor.run_once(
            plans.manage(self.platform.plan, *words)
        )

    def _get(self, path: str, **request: Any) -> tuple[int, dict[str, Any]]:
        try:
            response = self.operator.get(path, **request)
        except httpx.HTTPError:
            return 0, {}
        with suppress(ValueError):
            return response.status_code, dict(response.json())
        return response.status_code, {}


# --- starting it


@contextmanager
def running(setup: Setup) -> Iterator[Stand]:
    """Yield the stand once every process answers and a job has gone through."""
    folder = scratch_folder("transcribe-outages-")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        data = folder / "data"
        for each in (data / "media", data / "postgres"):
            each.mkdir(parents=True)
        if has_own_disk := can_mount():
            stack.enter_context(mounted(data / "media", MEDIA_BYTES))
        stand = stack.enter_context(_started(data, setup))
        stand.has_own_disk = has_own_disk
        yield stand
    assert find_members(folder) == {}


@contextmanager
def _started(data: Path, setup: Setup) -> Iterator[Stand]:
    with listening() as inbox, Supervisor(show=lambda _children: None) as supervisor:
        settings = {
            **setup.settings(inbox),
            "TRUSTED_PROXIES": HOST,
            "TASK_EVENTS": "",
            "MAX_ATTEMPTS": "1000",  # jobs last as long as an outage
        }
        options = Options(data_dir=data, port=0, settings=settings)
        urls = launch_servers(options, supervisor, durable=True)
        plan = plans.make_plan(options, urls=urls, inherited=inherited())
        about = f"{HOST}:{processes.free_port()}"
        supervisor.launch(_emulator(plan, setup))
        limit = str(setup.concurrency - 2)
        command = plans.bootstrap(plan, "--max-concurrent", limit)
        created = json.loads(supervisor.run_once(command))
        for program in _programs(plan, setup, about):
            supervisor.launch(program)
        inbox.secret = created["webhook_secret"]
        platform = Platform(
            setup=setup,
            plan=plan,
            supervisor=supervisor,
            inbox=inbox,
            upstream=Upstream(plan.emulator),
            api_key=created["api_key"],
            is_faulty=False,
        )
        platform.wait_whole()
        metrics = plans.metrics_addresses(supervisor.programs)
        with sign_in(platform) as operator:
            yield Stand(
                platform=platform,
                operator=operator,
                metrics={**metrics, "haproxy": about},
            )


def _programs(plan: RunPlan, setup: Setup, about: str) -> Iterator[Program]:
    ours = (
        plans.dispatcher(plan),
        plans.worker(
            plan,
            "worker",
            queues=f"transcribe.{plans.REGION}",
            threads=setup.threads,
        ),
        plans.worker(plan, "webhooks", queues="webhooks,housekeeping", threads=4),
        plans.beat(plan),
        # A port of its own: HAProxy has the one of the plan.
        plans.web_process(plan, "web", "wsgi", port=processes.free_port()),
    )
    folder = plan.options.data_dir
    clock = build_clock(folder)
    for program in ours:
        yield with_clock(program, folder, clock)
    yield _front(plan, ours[-1].address.removeprefix("http://"), about)


def _emulator(plan: RunPlan, setup: Setup) -> Program:
    words = (
        *("--seed", str(setup.seed), "--concurrency", str(setup.concurrency)),
        *("--rate-per-minute", str(setup.per_minute)),
        *("--latency-min", "0.1", "--latency-max", str(setup.longest_call_seconds)),
        *("--fetch-cache-seconds", "3600", "--words", "20"),
    )
    return plans.emulator(plan, "emulator", *words, engine="canned")


def _front(plan: RunPlan, web: str, about: str) -> Program:
    config = plan.options.data_dir / "haproxy.cfg"
    servers = {"web": [web], "live": [web]}
    config.write_text(compose.name_servers(compose.HAPROXY.read_text(), servers))
    return replace(
        haproxy.program(
            config,
            port=plan.web_port,
            log=plan.options.logs / "haproxy.log",
            environment={
                **processes.server_environment(),
                "HTTP_BIND": f"{HOST}:{plan.web_port}",
                "ABOUT_BIND": about,
                "TLS_CERTIFICATE": "",
                "FRONT_PROXIES": "",
            },
            stage=FRONT,
        ),
        ready=lambda started: started.answers(f"{plan.web}/health/live"),
    )


@contextmanager
def sign_in(platform: Platform) -> Iterator[httpx.Client]:
    """Yield a client with an operator's session, of the web process itself."""
    words = ("create_operator", _OPERATOR, "--role", "operator")
    command = plans.manage(platform.plan, *words)
    password = platform.supervisor.run_once(command).strip()
    address = platform.child("web").program.address
    with httpx.Client(
        base_url=address, timeout=TIMEOUT_SECONDS, trust_env=False
    ) as client:
        client.get("/admin/login/")
        form = {
            "username": _OPERATOR,
            "password": password,
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        response = client.post("/admin/login/", data=form)
        assert response.is_redirect, response.text
        yield client


# --- clocks and disks


def build_clock(folder: Path) -> Path | None:
    """Compile the library of clocks; None without a C compiler."""
    compiler, library = shutil.which("cc"), folder / CLOCK
    if compiler is None:
        return None
    source = str(Path(__file__).with_name("clock.c"))
    _run(compiler, "-shared", "-fPIC", "-O2", "-o", str(library), source, "-ldl")
    return library


def with_clock(program: Program, folder: Path, library: Path | None) -> Program:
    """Return the program with a clock of its own, which `set_clock` moves."""
    if library is None:
        return program
    set_clock(folder, program.name, 0)
    environment = {
        **(program.command.env or {}),
        "LD_PRELOAD": str(library),
        "CLOCK_FILE": str(_clock_of(folder, program.name)),
    }
    return replace(program, command=replace(program.command, env=environment))


def set_clock(folder: Path, name: str, seconds: int) -> None:
    """Move the clock of a running process away from the true time."""
    file = _clock_of(folder, name)
    file.touch()
    with file.open("r+b") as mapped:  # the process has mapped this very file
        mapped.write(struct.pack("=q", seconds))


def _clock_of(folder: Path, name: str) -> Path:
    return folder / f"clock-{name}"


def can_mount() -> bool:
    """Return whether this process may mount a tmpfs."""
    folder = scratch_folder("transcribe-mount-")
    try:
        with mounted(folder, 1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        folder.rmdir()


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """Mount a tmpfs of so many bytes on a folder."""
    options = f"size={size},mode=755"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(folder))


def remount(folder: Path, options: str) -> None:
    """Change the options of a mounted folder, such as "ro"."""
    _run("mount", "-o", f"remount,{options}", str(folder))


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
