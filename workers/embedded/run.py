"""Starts the whole platform in order, and stops it."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Thread

from workers.embedded import folders, postgres, probes, valkey
from workers.embedded import plan as plans
from workers.embedded.plan import Options, RunPlan
from workers.embedded.processes import EmbeddedError, ServerProgram
from workers.embedded.supervisor import TICK_SECONDS, Supervisor
from workers.embedded.view import View

START_SECONDS = 90.0


@dataclass(slots=True, kw_only=True)
class Platform:
    """The running platform."""

    plan: RunPlan
    supervisor: Supervisor
    api_key: str
    webhook_secret: str
    _written: dict[str, int] = field(default_factory=dict, init=False)

    def pids(self) -> dict[str, int]:
        """Return the process id of each process by its name."""
        return {
            child.program.name: child.process.pid for child in self.supervisor.children
        }

    def write_ready_file(self) -> None:
        """Write the ready file, and again after a process restarted."""
        path = self.plan.options.ready_file
        pids = self.pids()
        if path is None or pids == self._written:
            return
        programs = self.supervisor.programs
        text = json.dumps(
            {
                "web": self.plan.web,
                "flower": self.plan.flower,
                "flower_login": self.plan.flower_login,
                "emulator": self.plan.emulator,
                "api_key": self.api_key,
                "webhook_secret": self.webhook_secret,
                "database_url": self.plan.environment["DATABASE_URL"],
                "redis_url": self.plan.environment["REDIS_URL"],
                "metrics": {
                    name: f"http://{address}/metrics"
                    for name, address in plans.metrics_addresses(programs).items()
                },
                "pids": pids,
            },
            indent=2,
        )
        folders.write_private(path, text + "\n", None)
        self._written = pids

    def serve(self) -> None:
        """Supervise until StopRequested."""
        while True:
            self.supervisor.wait_ready(seconds=float("inf"))
            self.write_ready_file()
            self.supervisor.tick()
            time.sleep(TICK_SECONDS)


@contextmanager
def running(options: Options, view: View) -> Iterator[Platform]:
    """Yield the platform once all processes are ready; stop them afterwards.

    Raises EmbeddedError with the end of the log when a process does not start,
    StopRequested on Ctrl-C. Uses the servers of DATABASE_URL and REDIS_URL if set.
    """
    with ExitStack() as stack:
        stack.callback(view.close)
        options.data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        stack.enter_context(locked(options))
        supervisor = stack.enter_context(Supervisor(show=view.show))
        urls = launch_servers(options, supervisor)
        plan = plans.make_plan(options, urls=urls)
        if plan.emulator:
            supervisor.launch(plans.emulator(plan))
        created = json.loads(supervisor.run_once(plans.bootstrap(plan)))
        for program in (*plans.engine(plan), plans.web(plan)):
            supervisor.launch(program)
        plans.store_api_key(options.data_dir, created["api_key"])
        supervisor.wait_ready(seconds=START_SECONDS)
        flower_args = (plan.flower, plan.flower_login)
        Thread(target=probes.refresh_flower, args=flower_args, daemon=True).start()
        platform = Platform(
            plan=plan,
            supervisor=supervisor,
            api_key=created["api_key"],
            webhook_secret=created["webhook_secret"],
        )
        plans.write_targets(options.data_dir, supervisor.programs)
        stack.enter_context(plans.manage_script(options, plan.environment))
        platform.write_ready_file()
        yield platform


def launch_servers(
    options: Options,
    supervisor: Supervisor,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Start the servers that the environment does not define; return both URLs."""
    preparers: dict[str, tuple[str, Callable[..., ServerProgram]]] = {
        "DATABASE_URL": ("postgres", postgres.prepare),
        "REDIS_URL": ("valkey", valkey.prepare),
    }
    urls = {}
    for variable, (name, prepare) in preparers.items():
        urls[variable] = environment.get(variable, "")
        if not urls[variable]:
            service = prepare(
                options.data_dir / name,
                durable=options.durable,
                log=options.logs / f"{name}.log",
            )
            supervisor.launch(plans.server(service, name))
            urls[variable] = service.url
    supervisor.wait_ready()
    return urls


@contextmanager
def locked(options: Options) -> Iterator[None]:
    """Lock the data folder: two platforms on one folder would corrupt it."""
    with (options.data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedError(
                f"Another platform uses {options.data_dir}. "
                f"Stop it, or choose another folder with --data-dir."
            ) from None
        yield
