"""Starts child processes, restarts those that die, and stops them in order.

Runs in the caller's thread: `tick` does the due work; all waiting functions call it.
The kernel's death signal depends on the thread that started a child.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self
from urllib.parse import urlsplit

from workers.embedded import probes, processes
from workers.embedded.keeper import OrphanKiller
from workers.embedded.processes import EmbeddedError, ProcessCommand

TICK_SECONDS = 0.1
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 10.0
# The same for a process that ended before it was ready: its cause remains.
MAX_FAILED_BACKOFF_SECONDS = 120.0
# How long a process must have been ready to restart quickly again.
RESET_AFTER_SECONDS = 30.0
MAX_FAILED_STARTS = 3


class StopRequested(Exception):
    """SIGINT or SIGTERM arrived."""


class ChildState(StrEnum):
    """The states of a child process."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedProcess:
    """One start of a process, for its readiness check."""

    pid: int
    log: Path
    log_offset: int

    def has_logged(self, text: str) -> bool:
        """Return whether the text was logged since this start."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(self.log_offset)
            return text.encode() in log.read()
        return False

    def answers(self, url: str) -> bool:
        """Return whether this process, and no other one, answers HTTP at the URL."""
        port = urlsplit(url).port or 80
        return processes.group_listens(self.pid, port) and probes.http_answers(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A supervised process; higher stages are stopped first."""

    name: str
    command: ProcessCommand
    ready: Callable[[StartedProcess], bool]
    address: str = ""
    stage: int = 1
    grace: float = 10.0


@dataclass(slots=True, kw_only=True)
class Child:
    """A program and its current process."""

    program: Program
    process: subprocess.Popen[bytes]
    started: StartedProcess
    started_at: float
    state: ChildState = ChildState.STARTING
    restarts: int = 0
    failures: int = 0
    due_at: float = 0.0
    was_ready: bool = False
    ready_at: float | None = None  # since this start


Show = Callable[[Sequence[Child]], None]


@dataclass(slots=True)
class Supervisor:
    """Supervises programs; a context manager that stops all of them."""

    show: Show
    children: list[Child] = field(default_factory=list, init=False)
    _stop_requests: int = field(default=0, init=False)
    _keeper: OrphanKiller = field(init=False)
    _old_handlers: dict[int, object] = field(default_factory=dict, init=False)

    @property
    def programs(self) -> list[Program]:
        """The launched programs."""
        return [child.program for child in self.children]

    def __enter__(self) -> Self:
        # Before the first child: Ctrl-C during the start must stop everything.
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old_handlers[number] = signal.signal(number, self._request_stop)
        self._keeper = OrphanKiller()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._stop_all()
        finally:
            self._keeper.close()
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def launch(self, program: Program) -> Child:
        """Start a program without waiting for it."""
        process, started = self._spawn(program)
        child = Child(
            program=program,
            process=process,
            started=started,
            started_at=time.monotonic(),
        )
        self.children.append(child)
        return child

    def wait_ready(self, *, seconds: float = 60.0) -> None:
        """Wait until all children are ready; raises EmbeddedError."""
        end = time.monotonic() + seconds
        while waiting := [
            child for child in self.children if child.state is not ChildState.READY
        ]:
            first = waiting[0]
            if time.monotonic() > end:
                raise _build_error(first, f"was not ready within {seconds:.0f} s")
            self.tick()
            time.sleep(TICK_SECONDS)

    def run_once(self, command: ProcessCommand) -> str:
        """Run a command to its end and return its output."""
        process = processes.spawn(command, stdout=subprocess.PIPE)
        self._keeper.add(process.pid, grace=0)
        try:
            while process.poll() is None:
                self.tick()
                time.sleep(TICK_SECONDS / 5)
            printed, _ = process.communicate()
        finally:
            processes.kill_group(process.pid)
            process.wait()
            self._keeper.remove(process.pid)
        if process.returncode:
            end = processes.log_tail(command.log)
            raise EmbeddedError(f"{' '.join(command.argv)} failed:\n{end}")
        return printed.decode()

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Tick until a condition holds; raise StopRequested on SIGINT or SIGTERM."""
        while not until():
            self.tick()
            time.sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Handle ended children, restart due ones, check if starting ones are ready."""
        if self._stop_requests:
            raise StopRequested
        self._keeper.ensure()
        for child in self.children:
            self._advance(child, time.monotonic())
        self.show(self.children)

    def _advance(self, child: Child, now: float) -> None:
        if child.state is ChildState.RESTARTING:
            if now >= child.due_at:
                child.process, child.started = self._spawn(child.program)
                child.started_at = now
                child.restarts += 1
                child.ready_at = None
                child.state = ChildState.STARTING
        elif child.process.poll() is not None:
            self._handle_exit(child, now)
        elif child.state is ChildState.STARTING and child.program.ready(child.started):
            child.state = ChildState.READY
            child.was_ready, child.ready_at = True, now

    def _handle_exit(self, child: Child, now: float) -> None:
        """Kill the rest of the process group and schedule the restart."""
        self._remove(child)
        if child.ready_at and now - child.ready_at > RESET_AFTER_SECONDS:
            child.failures = 0
        child.failures += 1
        if not child.was_ready and child.failures >= MAX_FAILED_STARTS:
            raise _build_error(
                child, f"ended with {child.process.returncode}, repeatedly"
            )
        pause = FIRST_BACKOFF_SECONDS * 2 ** (child.failures - 1)
        longest = MAX_BACKOFF_SECONDS if child.ready_at else MAX_FAILED_BACKOFF_SECONDS
        child.due_at = now + min(pause, longest)
        child.state = ChildState.RESTARTING

    def _spawn(
        self, program: Program
    ) -> tuple[subprocess.Popen[bytes], StartedProcess]:
        log = program.command.log
        offset = log.stat().st_size if log.exists() else 0
        process = processes.spawn(program.command)
        # A graceful death signal needs the grace period before the keeper kills.
        is_killed = program.command.death_signal is signal.SIGKILL
        self._keeper.add(process.pid, grace=0 if is_killed else program.grace)
        return process, StartedProcess(pid=process.pid, log=log, log_offset=offset)

    def _stop_all(self) -> None:
        """Stop by stage, highest first; a second Ctrl-C kills immediately."""
        by_stage = sorted(self.children, key=lambda child: -child.program.stage)
        for _, stage in groupby(by_stage, key=lambda child: child.program.stage):
            children = list(stage)
            for child in children:
                if child.process.poll() is None:
                    child.process.send_signal(child.program.command.stop_signal)
            end = time.monotonic() + max(child.program.grace for child in children)
            while any(child.process.poll() is None for child in children):
                if time.monotonic() > end or self._stop_requests > 1:
                    break
                time.sleep(TICK_SECONDS / 5)
            for child in children:
                if child.state is not ChildState.RESTARTING:  # has been handled already
                    self._remove(child)
                child.state = ChildState.STOPPED
            self.show(self.children)

    def _remove(self, child: Child) -> None:
        processes.kill_group(child.process.pid)
        child.process.wait()
        self._keeper.remove(child.process.pid)

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_requests += 1


def _build_error(child: Child, reason: str) -> EmbeddedError:
    log = child.program.command.log
    end = processes.log_tail(log)
    return EmbeddedError(f"{child.program.name} {reason}. The end of {log}:\n{end}")
