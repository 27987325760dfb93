"""The supervisor: order, restarts, and nothing left behind, whatever kills whom."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.support import ROOT
from tests.support.process_family import family, python
from workers.embedded import probes, processes
from workers.embedded.keeper import OrphanKiller
from workers.embedded.processes import EmbeddedError, wait_until
from workers.embedded.supervisor import (
    Child,
    ChildState,
    Program,
    StopRequested,
    Supervisor,
)
from workers.embedded.view import View, build_table

BOSS = """
import json, pathlib, sys
from tests.support.process_family import family
from workers.embedded.supervisor import Supervisor
with Supervisor(show=lambda children: None) as boss:
    for name in ("one", "two"):
        boss.launch(family(pathlib.Path(sys.argv[1]), name))
    boss.wait_ready()
    print("ready", flush=True)
    boss.run()
"""


def members(log: Path) -> list[int]:
    """Return the pids of the youngest family of a log."""
    last = [line for line in log.read_text().splitlines() if "family" in line][-1]
    return [int(word) for word in last.split()[1:]]


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def supervisor() -> Supervisor:
    return Supervisor(show=lambda children: None)


def test_a_killed_child_comes_back_and_its_old_children_do_not_stay(
    tmp_path: Path,
) -> None:
    with supervisor() as boss:
        child = boss.launch(family(tmp_path))
        boss.wait_ready()
        first = members(child.started.log)
        os.kill(first[0], signal.SIGKILL)
        boss.run(lambda: child.restarts == 1)
        boss.wait_ready()

        assert wait_until(lambda: not any(map(alive, first)), seconds=5)
        second = members(child.started.log)
        assert second[0] == child.process.pid != first[0]
        assert child.state is ChildState.READY

    assert wait_until(lambda: not any(map(alive, second)), seconds=5)


def test_the_end_stops_higher_stages_first_and_kills_what_is_left(
    tmp_path: Path,
) -> None:
    seen: list[list[ChildState]] = []
    with Supervisor(
        show=lambda children: seen.append([child.state for child in children])
    ) as boss:
        low = boss.launch(family(tmp_path, "low", stage=0))
        high = boss.launch(family(tmp_path, "high", stage=2))
        boss.wait_ready()
        pids = members(low.started.log) + members(high.started.log)

    assert seen[-2:] == [
        [ChildState.READY, ChildState.STOPPED],
        [ChildState.STOPPED, ChildState.STOPPED],
    ]
    assert "ended" in low.started.log.read_text()
    # A signal is sent by then; the kernel ends whoever got it a moment later.
    assert wait_until(lambda: not any(map(alive, pids)), seconds=5)


def test_nothing_survives_a_supervisor_that_is_killed_with_9(tmp_path: Path) -> None:
    boss = subprocess.Popen(
        [sys.executable, "-c", BOSS, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert boss.stdout
    assert boss.stdout.readline() == b"ready\n"
    pids = [*members(tmp_path / "one.log"), *members(tmp_path / "two.log")]
    assert all(map(alive, pids))

    boss.kill()
    boss.wait()
    boss.stdout.close()

    assert wait_until(lambda: not any(map(alive, pids)), seconds=10)


def test_a_killed_keeper_is_replaced_and_knows_everybody(tmp_path: Path) -> None:
    program = family(tmp_path)
    process = processes.spawn(program.command)
    assert wait_until(lambda: "family" in program.command.log.read_text(), seconds=5)
    keeper = OrphanKiller()
    keeper.add(process.pid, grace=0)
    old = keeper.pid
    os.kill(old, signal.SIGKILL)
    assert wait_until(lambda: not alive(old), seconds=5)

    keeper.ensure()
    keeper.close()

    assert keeper.pid != old
    assert process.wait(5) == -signal.SIGKILL
    assert wait_until(
        lambda: not any(map(alive, members(program.command.log))), seconds=5
    )


def start(program: Program, *, seconds: float = 60, asked: bool = False) -> None:
    with supervisor() as boss:
        if asked:
            os.kill(os.getpid(), signal.SIGTERM)
        boss.launch(program)
        boss.wait_ready(seconds=seconds)


def test_a_signal_ends_the_wait_even_before_the_first_child(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    program = family(tmp_path)

    with pytest.raises(StopRequested):
        start(program, asked=True)

    assert signal.getsignal(signal.SIGTERM) is before
    assert "family" not in program.command.log.read_text()


def test_a_program_that_cannot_start_ends_the_start_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.embedded.supervisor.FIRST_BACKOFF_SECONDS", 0.01)
    program = Program(
        name="broken",
        command=python("raise SystemExit('the port is taken')", tmp_path / "b.log"),
        ready=lambda started: False,
    )

    with pytest.raises(EmbeddedError, match=r"broken ended with 1(.|\n)*port is taken"):
        start(program)


SERVE = "import http.server as h; h.HTTPServer(('127.0.0.1', {port}), h.SimpleHTTPRequestHandler).serve_forever()"


def test_only_an_answer_of_its_own_makes_a_program_ready(tmp_path: Path) -> None:
    port, url = (free := processes.free_port()), f"http://127.0.0.1:{free}/"
    stranger = processes.spawn(python(SERVE.format(port=port), tmp_path / "other.log"))
    assert wait_until(lambda: probes.http_answers(url), seconds=30)
    program = Program(
        name="mute",
        command=python("import time; time.sleep(60)", tmp_path / "mute.log"),
        ready=lambda started: started.answers(url),
    )

    with pytest.raises(EmbeddedError, match="mute was not ready"):
        start(program, seconds=1)
    processes.stop(stranger, signal.SIGKILL, grace=1)

    own = python(SERVE.format(port=port), tmp_path / "own.log")
    with supervisor() as boss:
        boss.launch(replace(program, name="own", command=own))
        boss.wait_ready(seconds=30)


def test_a_program_that_is_never_ready_again_restarts_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.embedded.supervisor.RESET_AFTER_SECONDS", 0)
    monkeypatch.setattr("workers.embedded.supervisor.FIRST_BACKOFF_SECONDS", 0.001)
    program = Program(
        name="lost",
        command=python("raise SystemExit('the port is taken')", tmp_path / "l.log"),
        ready=lambda started: False,
    )

    with supervisor() as boss:
        child = boss.launch(program)
        child.was_ready = True  # it had been, before its port was taken
        boss.run(until=lambda: child.restarts == 3)

        boss.run(until=lambda: child.state is ChildState.RESTARTING)
        child.failures = 8
        child.due_at = 0
        boss.tick()
        boss.run(until=lambda: child.state is ChildState.RESTARTING)

        assert child.failures == 9
        assert child.due_at - child.started_at > 0.25  # 0.001 s doubled eight times


def test_a_program_that_never_answers_ends_the_start(tmp_path: Path) -> None:
    program = Program(
        name="mute",
        command=python("import time; time.sleep(60)", tmp_path / "mute.log"),
        ready=lambda started: False,
    )

    with pytest.raises(EmbeddedError, match="mute was not ready"):
        start(program, seconds=0.2)


def test_a_short_command_returns_what_it_printed(tmp_path: Path) -> None:
    with supervisor() as boss:
        assert boss.run_once(python("print('made')", tmp_path / "log")) == "made\n"

        with pytest.raises(EmbeddedError, match="no such table"):
            boss.run_once(python("raise SystemExit('no such table')", tmp_path / "log"))


def test_a_restart_waits_longer_each_time(tmp_path: Path) -> None:
    with supervisor() as boss:
        child = boss.launch(family(tmp_path))
        boss.wait_ready()
        pauses = []
        for _ in range(6):
            child.process.kill()
            child.process.wait()
            boss.tick()
            pauses.append(round(child.due_at - time.monotonic(), 1))
            child.due_at = 0
            boss.tick()

    assert pauses == [0.5, 1, 2, 4, 8, 16]  # not ready in between


def test_a_grown_log_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 3)
    log = tmp_path / "web.log"
    log.write_text("long")

    with processes.open_log(log) as opened:
        opened.write(b"new")

    assert log.read_text() == "new"
    assert (tmp_path / "web.log.1").read_text() == "long"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_view_shows_each_change_once(tmp_path: Path, *, is_terminal: bool) -> None:
    with (tmp_path / "screen").open("w") as screen:
        console = Console(file=screen, force_terminal=is_terminal, width=100)
        view = View(console)
        with Supervisor(show=view.show) as boss:
            boss.launch(family(tmp_path))
            boss.wait_ready()
        view.close()

    text = (tmp_path / "screen").read_text()
    assert text.count("ready") == 1
    # A terminal's last picture is drawn once more when the live table closes.
    assert text.count("stopped") == (2 if is_terminal else 1)


def test_the_table_names_process_state_and_restarts(tmp_path: Path) -> None:
    with supervisor() as boss:
        child: Child = boss.launch(family(tmp_path))
        table = build_table([child])

    assert [column.header for column in table.columns] == [
        *("process", "pid", "state", "restarts", "address")
    ]
    assert json.dumps(list(table.columns[0].cells)) == '["family"]'
