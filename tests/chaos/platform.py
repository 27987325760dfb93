"""The whole platform as real processes on real sockets, to be broken and watched.

The pieces are `workers.embedded`'s: its supervisor restarts what dies, by itself. One
thread, the caller's, ticks it; whoever waits for anything does so through `wait`.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import redis

from tests.chaos.receiver import Inbox, listening
from tests.chaos.upstream import Upstream, Upstreams
from workers.embedded import plan as plans
from workers.embedded import postgres, valkey
from workers.embedded.plan import Options, RunPlan
from workers.embedded.supervisor import Child, ChildState, Program, Supervisor

START_SECONDS = 90.0
STEP_SECONDS = 0.05
HELD = f"permits:{{{plans.REGION}:prerecorded}}:held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How large and how hasty; the emulator enforces a little more than the region.

    ``is_lean``: one dispatcher, the workers deliver the webhooks too, and PostgreSQL,
    which the short round does not kill, is not durable.
    """

    seed: int = 1
    lease_seconds: float = 3.0
    threads: int = 20
    concurrency: int = 40
    per_minute: int = 2000
    longest_call_seconds: float = 3.0
    is_lean: bool = False

    def settings(self, inbox: Inbox) -> dict[str, str]:
        """Return the environment of every process of ours."""
        return {
            "LEASE_SECONDS": str(self.lease_seconds),
            "BACKOFF_BASE_SECONDS": "0.2",
            "BACKOFF_CAP_SECONDS": "1",
            "MAX_ATTEMPTS": "10",
            "CALL_DEADLINE_SECONDS": "30",
            "WEBHOOK_SCHEDULE_SECONDS": ",".join(["0.5"] * 60),
            "WEBHOOK_THROTTLED_SECONDS": "0.5",
            "WEBHOOK_TIMEOUT_SECONDS": "2",
            "EGRESS_ALLOW": inbox.url.removeprefix("http://"),
            "LOG_LEVEL": "INFO",
            "REQUESTS_PER_MINUTE": "1000000000",  # counted, and never met
            "REQUESTS_PER_MINUTE_PER_KEY": "1000000000",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that was done to the platform, and when."""

    what: str
    at: float
    until: float = 0.0


@dataclass(slots=True, kw_only=True)
class Platform:
    """The running platform, and the hands that break it."""

    setup: Setup
    plan: RunPlan
    supervisor: Supervisor
    inbox: Inbox
    upstream: Upstream | Upstreams
    api_key: str
    accepted: dict[str, str] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    is_faulty: bool = True  # a new emulator hears what shall go wrong
    _told: int = 0

    def child(self, name: str) -> Child:
        return next(
            each for each in self.supervisor.children if each.program.name == name
        )

    def names(self, prefix: str) -> list[str]:
        return [
            child.program.name
            for child in self.supervisor.children
            if child.program.name.startswith(prefix)
        ]

    def tick(self) -> None:
        """Let the supervisor work; tell a new emulator its faults."""
        self.supervisor.tick()
        if not self.is_faulty:
            return
        emulator = self.child("emulator")
        if emulator.state is ChildState.READY and emulator.process.pid != self._told:
            self.upstream.inject()
            self._told = emulator.process.pid

    def wait(self, until: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Tick until a condition holds; fail with a sentence when it does not."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:.0f} s: {what}")
            self.tick()
            time.sleep(STEP_SECONDS)

    def wait_whole(self, *, seconds: float = START_SECONDS) -> None:
        """Wait until every process is there and answers."""
        self.wait(self.is_whole, seconds=seconds, what="every process is up")

    def is_whole(self) -> bool:
        children = self.supervisor.children
        return all(child.state is ChildState.READY for child in children)

    def kill(self, *names: str, away_seconds: float = 0.0) -> None:
        """Kill -9 processes; the supervisor restarts them, not before the time is over."""
        upstreams = [found for name in names if (found := self.upstream_of(name))]
        for each in upstreams:
            each.read()
        began = time.time()
        for name in names:
            with suppress(ProcessLookupError):
                os.kill(self.child(name).process.pid, signal.SIGKILL)
        for each in upstreams:
            each.mourn()
        dead = [self.child(name) for name in names]
        self.wait(
            lambda: all(child.state is ChildState.RESTARTING for child in dead),
            seconds=10,
            what=f"the supervisor notices that {', '.join(names)} are dead",
        )
        for child in dead:
            child.due_at = max(child.due_at, time.monotonic() + away_seconds)
        for name in names:
            self._mark(f"kill {name}", began, away_seconds)

    def restart(self, name: str, *, seconds: float = 60.0) -> None:
        """Ask a process to end, by its own signal, and wait for the next one."""
        child = self.child(name)
        old, began = child.process, time.time()
        upstream = self.upstream_of(name)
        if upstream:
            upstream.read()
        old.send_signal(child.program.command.stop_signal)
        self.wait(
            lambda: child.process is not old and child.state is ChildState.READY,
            seconds=seconds,
            what=f"{name} ends and comes back",
        )
        if upstream:
            upstream.mourn()
        self._mark(f"restart {name}", began, time.time() - began)

    def upstream_of(self, name: str) -> Upstream | None:
        """Return what a process of this name keeps as the upstream, if it is one."""
        return self.upstream if name == "emulator" else None

    def freeze(self, name: str, *, seconds: float) -> None:
        """Stop a process in its tracks, as a full machine does, and let it go on."""
        began = time.time()
        self.child(name).process.send_signal(signal.SIGSTOP)
        self._wait_for(seconds)
        with suppress(ProcessLookupError):
            self.child(name).process.send_signal(signal.SIGCONT)
        self._mark(f"freeze {name}", began, 0)

    def lose_storage(self, *, seconds: float) -> None:
        """Let nothing be stored: a file takes the place of the folder."""
        folder = Path(self.plan.environment["MEDIA_ROOT"]) / "raw"
        away, began = folder.with_name("raw.away"), time.time()
        folder.mkdir(parents=True, exist_ok=True)
        folder.rename(away)
        folder.touch()
        self._wait_for(seconds)
        folder.unlink()
        away.rename(folder)
        self._mark("storage lost", began, 0)

    def wait_for_a_stored_result(self) -> None:
        """Wait until the next document appears in storage."""
        folder = Path(self.plan.environment["MEDIA_ROOT"]) / "raw"
        known = sum(1 for _ in folder.rglob("*.gz"))
        end = time.monotonic() + 5
        while sum(1 for _ in folder.rglob("*.gz")) == known and time.monotonic() < end:
            time.sleep(0.001)

    def _wait_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, seconds=2 * seconds, what="time")

    def flush(self) -> None:
        """Empty Redis."""
        with self.broker() as broker:
            broker.flushall()
        self._mark("flush", time.time(), 0)

    def broker(self) -> redis.Redis:
        return redis.Redis.from_url(self.plan.environment["REDIS_URL"])

    def permits_held(self) -> int:
        """Count the permits that have not run out, by Redis' own clock."""
        with self.broker() as broker:
            seconds, micros = broker.time()
            now = seconds * 1000 + micros // 1000
            return int(broker.zcount(HELD, now, "+inf"))

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Ask the database, on a connection of its own."""
        url = self.plan.environment["DATABASE_URL"]
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def members(self) -> dict[int, psutil.Process]:
        """Return every process that was started with this run's folder."""
        return find_members(self.plan.options.data_dir)

    def _mark(self, what: str, at: float, lasted: float) -> None:
        self.marks.append(Mark(what=what, at=at, until=time.time() + lasted))


def find_members(folder: Path) -> dict[int, psutil.Process]:
    """Return the processes that know the folder by environment or command line."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            known = (*process.cmdline(), *process.environ().values())
            if any(str(folder) in each for each in known):
                found[process.pid] = process
    found.pop(os.getpid(), None)
    return found


@contextmanager
def running(folder: Path, setup: Setup) -> Iterator[Platform]:
    """Yield the platform once all of it answers; stop all of it afterwards."""
    with listening() as inbox, Supervisor(show=lambda _children: None) as supervisor:
        options = Options(data_dir=folder, port=0, settings=setup.settings(inbox))
        urls = launch_servers(options, supervisor, durable=not setup.is_lean)
        plan = plans.make_plan(options, urls=urls, inherited=inherited())
        supervisor.launch(_emulator(plan, setup))
        made = json.loads(supervisor.run_once(_bootstrap(plan, setup)))
        for program in _programs(plan, setup):
            supervisor.launch(program)
        inbox.secret = made["webhook_secret"]
        platform = Platform(
            setup=setup,
            plan=plan,
            supervisor=supervisor,
            inbox=inbox,
            upstream=Upstream(plan.emulator),
            api_key=made["api_key"],
        )
        platform.wait_whole()
        yield platform


def inherited() -> dict[str, str]:
    """Return what processes may inherit: none of the test run's own settings."""
    names = ("PATH", "HOME", "LANG", "PYTHONPYCACHEPREFIX")
    return {name: os.environ[name] for name in names if name in os.environ}


def launch_servers(
    options: Options, supervisor: Supervisor, *, durable: bool
) -> dict[str, str]:
    """Start PostgreSQL, and a Valkey that loses its data at each restart."""
    services = {
        "postgres": postgres.prepare(
            options.data_dir / "postgres",
            durable=durable,
            log=options.logs / "postgres.log",
        ),
        "valkey": valkey.prepare(
            options.data_dir / "valkey", durable=False, log=options.logs / "valkey.log"
        ),
    }
    for name, service in services.items():
        supervisor.launch(plans.server(service, name))
    supervisor.wait_ready()
    return {
        "DATABASE_URL": services["postgres"].url,
        "REDIS_URL": services["valkey"].url,
    }


def _bootstrap(plan: RunPlan, setup: Setup) -> plans.ProcessCommand:
    """Make tenant, key and region; the region stays a little under the true limits."""
    return plans.bootstrap(
        plan,
        *("--max-concurrent", str(setup.concurrency - 2)),
        *("--max-per-minute", str(int(setup.per_minute * 0.97))),
    )


def _emulator(plan: RunPlan, setup: Setup) -> Program:
    words = (
        *("--seed", str(setup.seed), "--concurrency", str(setup.concurrency)),
        *("--rate-per-minute", str(setup.per_minute)),
        *("--latency-min", "0.2", "--latency-max", str(setup.longest_call_seconds)),
        *("--fetch-cache-seconds", "3600", "--words", "20"),
    )
    return plans.emulator(plan, "emulator", *words, engine="canned")


def _programs(plan: RunPlan, setup: Setup) -> Iterator[Program]:
    queues, hooks = f"transcribe.{plans.REGION}", "webhooks,housekeeping"
    if setup.is_lean:
        queues = f"{queues},{hooks}"
    else:
        yield plans.dispatcher(plan, "dispatcher-2")
        yield plans.worker(plan, "webhooks", queues=hooks, threads=10)
    yield plans.dispatcher(plan, "dispatcher-1")
    for name in ("worker-1", "worker-2"):
        yield plans.worker(plan, name, queues=queues, threads=setup.threads)
    # As production runs the REST door.
    yield plans.web_process(
        plan, "web", "wsgi", "--blocking-threads", "16", port=plan.web_port
    )
