"""`manage.py run_platform`: real process trees, killed in every way."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.embedded.binaries import scratch_folder
from workers.embedded.probes import http_answers
from workers.embedded.processes import log_tail, wait_until

ROOT = Path(__file__).parents[2]
SERVERS = ("DATABASE_URL", "REDIS_URL")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("run_platform"),  # one folder, one after the other
]


class Run:
    """One run of the command, and what it wrote when ready."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ready_file = folder / "ready.json"
        self.ready_file.unlink(missing_ok=True)
        self.output = folder.with_suffix(".out")
        own = {key: value for key, value in os.environ.items() if key not in SERVERS}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                (
                    *(sys.executable, "manage.py", "run_platform", "--port", "0"),
                    *("--data-dir", folder, "--ready-file", self.ready_file),
                ),
                cwd=ROOT,
                env=own,
                stdout=output,
                stderr=output,
            )

    def ready(self) -> dict[str, Any]:
        """Wait for the ready file and return it."""
        assert wait_until(
            lambda: self.ready_file.exists() or self.process.poll() is not None,
            seconds=90,
        )
        assert self.ready_file.exists(), log_tail(self.output)
        answer: dict[str, Any] = json.loads(self.ready_file.read_text())
        return answer

    def members(self) -> set[int]:
        """Return every process that was started with this run's folder."""
        mark = str(self.folder).encode()
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                told = (entry / "environ").read_bytes() + (
                    entry / "cmdline"
                ).read_bytes()
            except OSError:
                continue
            if mark in told and int(entry.name) != self.process.pid:
                found.add(int(entry.name))
        return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = scratch_folder("transcribe-e2e-")
    yield made / "data"
    subprocess.run(["rm", "-rf", str(made)], check=True)


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    started = Run(folder)
    yield started
    started.process.terminate()
    started.process.wait(60)


@pytest.mark.timeout(240)
def test_killed_processes_come_back_and_nothing_survives_a_killed_supervisor(
    run: Run,
) -> None:
    first = run.ready()
    assert http_answers(first["web"])
    for name in ("worker", "web"):
        os.kill(first["pids"][name], signal.SIGKILL)

    assert wait_until(
        lambda: run.ready()["pids"]["worker"] != first["pids"]["worker"], seconds=60
    )
    second = run.ready()["pids"]
    assert {name for name in second if second[name] != first["pids"][name]} == {
        "worker",
        "web",
    }
    assert http_answers(first["web"])
    assert len(run.members()) > len(second)  # children of children are seen as well

    run.process.kill()
    run.process.wait()

    assert wait_until(lambda: not run.members(), seconds=20), run.members()


@pytest.mark.timeout(240)
def test_it_starts_again_on_the_same_folder_and_ends_in_order(run: Run) -> None:
    ready = run.ready()

    status = urllib.request.urlopen(ready["emulator"] + "/v1/status").status
    run.process.send_signal(signal.SIGINT)

    assert status == 200
    assert run.process.wait(30) == 0
    assert not run.members()
    lines = run.output.read_text()
    assert lines.index("web         stopped") < lines.index("postgres    stopped")
