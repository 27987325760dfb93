"""`manage.py run_platform`: real process trees, killed in every way."""

import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform_run import Run
from workers.embedded.binaries import scratch_folder
from workers.embedded.probes import http_answers
from workers.embedded.processes import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("run_platform"),  # one folder, one after the other
]


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
