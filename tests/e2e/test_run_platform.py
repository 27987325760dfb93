"""`manage.py run_platform`: real process trees, killed in every way."""

import json
import os
import signal
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.platform_run import Run
from workers.demo import corpus
from workers.embedded.probes import http_answers
from workers.embedded.processes import wait_until

SPEECH = (corpus.FOLDER / "train.mp3").read_bytes()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("run_platform"),  # one folder, one after the other
]


def ask(ready: dict[str, Any], path: str) -> dict[str, Any]:
    """Ask the API as its first customer."""
    headers = {"authorization": f"Bearer {ready['api_key']}"}
    request = urllib.request.Request(ready["web"] + path, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


def cpu_seconds(pid: int) -> float:
    """Return what a process has used, by proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_at_the_door(ready: dict[str, Any]) -> str:
    """Have the web process run a call of six seconds; return its job once it runs."""

    def call() -> None:
        with suppress(httpx.HTTPError):  # the process dies in the middle of it
            httpx.post(
                ready["web"] + "/v1/transcribe",
                headers={"authorization": f"Bearer {ready['api_key']}"},
                data={"mode": "sync", "options": '{"tag": ["emu:delay6"]}'},
                files={"file": ("train.mp3", SPEECH)},
                timeout=30,
                trust_env=False,
            )

    threading.Thread(target=call, daemon=True).start()
    running: list[str] = []

    def is_running() -> bool:
        page = ask(ready, "/v1/jobs?status=processing")["data"]
        running.extend(job["id"] for job in page if job["mode"] == "sync")
        return bool(running)

    assert wait_until(is_running, seconds=20)
    return running[0]


def outcomes_of(job: str, ready: dict[str, Any]) -> list[str]:
    """Wait until the job is done; return how each of its calls ended."""
    path = f"/v1/jobs/{job}"
    assert wait_until(lambda: ask(ready, path)["status"] == "completed", seconds=60)
    return [call["outcome"] for call in ask(ready, f"{path}/attempts")["data"]]


@pytest.mark.timeout(240)
def test_killed_processes_come_back_and_nothing_survives_a_killed_supervisor(
    first_run: Run,
) -> None:
    first = first_run.ready()
    began, spent = time.monotonic(), cpu_seconds(first_run.process.pid)
    assert http_answers(first["web"])
    job = wait_at_the_door(first)
    for name in ("worker", "web"):
        os.kill(first["pids"][name], signal.SIGKILL)

    assert wait_until(
        lambda: first_run.ready()["pids"]["worker"] != first["pids"]["worker"],
        seconds=60,
    )
    second = first_run.ready()["pids"]
    assert {name for name in second if second[name] != first["pids"][name]} == {
        "worker",
        "web",
    }
    assert http_answers(first["web"])
    assert outcomes_of(job, first) == ["unknown", "ok"]
    assert len(first_run.members()) > len(
        second
    )  # children of children are seen as well
    # Who only watches must not take a core from those who work.
    share = (cpu_seconds(first_run.process.pid) - spent) / (time.monotonic() - began)
    assert share < 0.3

    first_run.process.kill()
    first_run.process.wait()

    assert wait_until(lambda: not first_run.members(), seconds=20), first_run.members()


@pytest.mark.timeout(240)
def test_it_starts_again_on_the_same_folder_and_ends_in_order(
    second_run: Run,
) -> None:
    ready = second_run.ready()

    status = urllib.request.urlopen(ready["emulator"] + "/v1/status").status
    second_run.process.send_signal(signal.SIGINT)

    assert status == 200
    assert second_run.process.wait(30) == 0
    assert not second_run.members()
    lines = second_run.output.read_text()
    assert lines.index("web         stopped") < lines.index("postgres    stopped")
