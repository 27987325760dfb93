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

from tests.support.platform_run import Run
from tests.support.webhook_receiver import Receiver
from workers.demo import corpus
from workers.embedded.probes import http_answers
from workers.embedded.processes import wait_until

# Before every event, by its transaction and its id.
FIRST = "0-00000000-0000-0000-0000-000000000000"
SPEECH = (corpus.FOLDER / "train.mp3").read_bytes()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("run_platform"),  # one folder, one after the other
]


def get_json(ready: dict[str, Any], path: str) -> dict[str, Any]:
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
        page = get_json(ready, "/v1/jobs?status=processing")["data"]
        running.extend(job["id"] for job in page if job["mode"] == "sync")
        return bool(running)

    assert wait_until(is_running, seconds=20)
    return running[0]


def submit(ready: dict[str, Any], tag: str, hooks: Receiver) -> str:
    """Have a job wait its turn; return it."""
    form = {"callback_url": hooks.url} | (
        {"options": json.dumps({"tag": [tag]})} if tag else {}
    )
    made = httpx.post(
        ready["web"] + "/v1/jobs",
        headers={"authorization": f"Bearer {ready['api_key']}"},
        data=form,
        files={"file": ("train.mp3", SPEECH)},
        timeout=30,
        trust_env=False,
    )
    return str(made.json()["id"])


def outcomes_of(job: str, ready: dict[str, Any]) -> list[str]:
    """Wait until the job is done; return how each of its calls ended."""
    path = f"/v1/jobs/{job}"
    assert wait_until(
        lambda: get_json(ready, path)["status"] == "completed", seconds=60
    )
    return [call["outcome"] for call in get_json(ready, f"{path}/attempts")["data"]]


@pytest.mark.timeout(240)
def test_killed_processes_come_back_and_nothing_survives_a_killed_supervisor(
    first_run: Run, left_behind: list[str], hooks: Receiver
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

    left_behind += [submit(first, tag, hooks) for tag in ("emu:delay3", "")]
    assert outcomes_of(left_behind[1], first) == ["ok"]
    path = f"/v1/webhook-deliveries?job_id={left_behind[1]}&status=delivered"
    assert wait_until(lambda: bool(get_json(first, path)["data"]), seconds=30)
    first_run.process.kill()
    first_run.process.wait()

    assert wait_until(lambda: not first_run.members(), seconds=20), first_run.members()


@pytest.mark.timeout(240)
def test_it_goes_on_from_a_backup_in_another_cluster_and_ends_in_order(
    second_run: Run, left_behind: list[str], hooks: Receiver
) -> None:
    interrupted, done = left_behind
    told = [each for each in hooks.received if done.encode() in each.body]
    ready = second_run.ready()

    new = submit(ready, "", hooks)
    assert outcomes_of(new, ready) == ["ok"]
    # Its call was under way, or had not begun; it is made again, and only that one.
    assert outcomes_of(interrupted, ready)[-1] == "ok"
    assert outcomes_of(done, ready) == ["ok"]
    assert get_json(ready, f"/v1/transcripts/{done}")["text"]
    assert wait_until(lambda: is_told(hooks, new, interrupted), seconds=30)
    assert [each for each in hooks.received if done.encode() in each.body] == told
    assert stream_names(ready, new)
    status = urllib.request.urlopen(ready["emulator"] + "/v1/status").status
    second_run.process.send_signal(signal.SIGINT)

    assert status == 200
    assert second_run.process.wait(30) == 0
    assert not second_run.members()
    lines = second_run.output.read_text()
    assert lines.index("web         stopped") < lines.index("postgres    stopped")


def is_told(hooks: Receiver, *jobs: str) -> bool:
    return all(any(job.encode() in it.body for it in hooks.received) for job in jobs)


def stream_names(ready: dict[str, Any], job: str) -> bool:
    """Tell whether an event stream that begins at the first event comes to this job."""
    headers = {"authorization": f"Bearer {ready['api_key']}", "last-event-id": FIRST}
    with httpx.stream(
        "GET", ready["web"] + "/v1/events", headers=headers, timeout=20, trust_env=False
    ) as answer:
        return any(job in line for line in answer.iter_lines())
