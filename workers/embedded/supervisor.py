"""Start child processes, restart the ones that die, stop them in order.

One thread only, the caller's: `tick` does what is due, and whoever waits for anything
calls it. (The kernel's death signal follows the thread that started a child.) What the
programs are is not known here.
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

from workers.embedded import processes
from workers.embedded.keeper import Keeper
from workers.embedded.processes import EmbeddedError, ProcessCommand

TICK_SECONDS = 0.1
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 10.0
FORGIVEN_AFTER_SECONDS = 30.0
DEATHS_BEFORE_FIRST_READY = 3


class StopAsked(Exception):
    """SIGINT or SIGTERM arrived."""


class ChildState(StrEnum):
    """Where a child process is in its life."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a readiness check may want to know of one start."""

    pid: int
    log: Path
    log_offset: int

    def has_logged(self, text: str) -> bool:
        """Tell whether a text was logged since this start."""
        with suppress(OSError), self.log.open("rb") as log:
            log.seek(self.log_offset)
            return text.encode() in log.read()
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process to keep running; those of a higher stage are stopped earlier."""

    name: str
    command: ProcessCommand
    ready: Callable[[Started], bool]
    address: str = ""
    stage: int = 1
    grace: float = 10.0


@dataclass(slots=True, kw_only=True)
class Child:
    """A program and its present process."""

    program: Program
    process: subprocess.Popen[bytes]
    started: Started
    started_at: float
    state: ChildState = ChildState.STARTING
    restarts: int = 0
    failures: int = 0
    due_at: float = 0.0
    was_ready: bool = False


Show = Callable[[Sequence[Child]], None]


@dataclass(slots=True)
class Supervisor:
    """Keep programs running; a context manager that leaves nothing behind."""

    show: Show
    children: list[Child] = field(default_factory=list, init=False)
    _asked: int = field(default=0, init=False)
    _keeper: Keeper = field(init=False)
    _old_handlers: dict[int, object] = field(default_factory=dict, init=False)

    @property
    def programs(self) -> list[Program]:
        """What was launched."""
        return [child.program for child in self.children]

    def __enter__(self) -> Self:
        # Before the first child: Ctrl-C during a slow start must stop it all as well.
        for number in (signal.SIGINT, signal.SIGTERM):
            self._old_handlers[number] = signal.signal(number, self._ask)
        self._keeper = Keeper()
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
        """Wait until every child answers; raise EmbeddedError with the log's end."""
        end = time.monotonic() + seconds
        while waiting := [
            it for it in self.children if it.state is not ChildState.READY
        ]:
            first = waiting[0]
            if time.monotonic() > end:
                raise _failed(first, f"did not answer within {seconds:.0f} s")
            self.tick()
            time.sleep(TICK_SECONDS)

    def run_once(self, command: ProcessCommand) -> str:
        """Run a short command to its end and return what it printed."""
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
        """Tick until a condition holds; raise StopAsked on SIGINT or SIGTERM."""
        while not until():
            self.tick()
            time.sleep(TICK_SECONDS)

    def tick(self) -> None:
        """Notice the dead, start again what is due, ask the starting if they answer."""
        if self._asked:
            raise StopAsked
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
                child.state = ChildState.STARTING
        elif child.process.poll() is not None:
            self._bury(child, now)
        elif child.state is ChildState.STARTING and child.program.ready(child.started):
            child.state = ChildState.READY
            child.was_ready = True

    def _bury(self, child: Child, now: float) -> None:
        """Clear what a dead child left of its group, and set the time of the next."""
        self._forget(child)
        if now - child.started_at > FORGIVEN_AFTER_SECONDS:
            child.failures = 0
        child.failures += 1
        if not child.was_ready and child.failures >= DEATHS_BEFORE_FIRST_READY:
            raise _failed(child, f"ended with {child.process.returncode}, repeatedly")
        pause = FIRST_BACKOFF_SECONDS * 2 ** (child.failures - 1)
        child.due_at = now + min(pause, LONGEST_BACKOFF_SECONDS)
        child.state = ChildState.RESTARTING

    def _spawn(self, program: Program) -> tuple[subprocess.Popen[bytes], Started]:
        log = program.command.log
        offset = log.stat().st_size if log.exists() else 0
        process = processes.spawn(program.command)
        # At our death, one that is told to end in order also gets the time for it.
        is_killed = program.command.death_signal is signal.SIGKILL
        self._keeper.add(process.pid, grace=0 if is_killed else program.grace)
        return process, Started(pid=process.pid, log=log, log_offset=offset)

    def _stop_all(self) -> None:
        """Stop by stage, the highest first; a second Ctrl-C ends the patience."""
        by_stage = sorted(self.children, key=lambda child: -child.program.stage)
        for _, stage in groupby(by_stage, key=lambda child: child.program.stage):
            children = list(stage)
            for child in children:
                if child.process.poll() is None:
                    child.process.send_signal(child.program.command.stop_signal)
            end = time.monotonic() + max(child.program.grace for child in children)
            while any(child.process.poll() is None for child in children):
                if time.monotonic() > end or self._asked > 1:
                    break
                time.sleep(TICK_SECONDS / 5)
            for child in children:
                if (
                    child.state is not ChildState.RESTARTING
                ):  # that one is buried already
                    self._forget(child)
                child.state = ChildState.STOPPED
            self.show(self.children)

    def _forget(self, child: Child) -> None:
        processes.kill_group(child.process.pid)
        child.process.wait()
        self._keeper.remove(child.process.pid)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self._asked += 1


def _failed(child: Child, how: str) -> EmbeddedError:
    log = child.program.command.log
    end = processes.log_tail(log)
    return EmbeddedError(f"{child.program.name} {how}. The end of {log}:\n{end}")
