"""Flower in a real run: behind its login, and with what Celery knows of a job."""

from typing import Any

import httpx
import pytest

from tests.support.platform_run import Run
from workers.demo import corpus
from workers.embedded.processes import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("run_platform"),
]


@pytest.fixture(scope="module")
def ready(first_run: Run) -> dict[str, Any]:
    return first_run.ready()


def flower(ready: dict[str, Any], path: str, **how: Any) -> httpx.Response:
    login = tuple(ready["flower_login"].split(":"))
    return httpx.get(ready["flower"] + path, auth=login, trust_env=False, **how)


@pytest.mark.parametrize("path", ["/", "/workers", "/tasks", "/broker", "/api/tasks"])
def test_nobody_looks_without_the_login(ready, path):
    assert httpx.get(ready["flower"] + path, trust_env=False).status_code == 401


def test_it_lists_queues_and_workers(ready):
    def names() -> set[str]:
        found = flower(ready, "/api/queues/length").json()["active_queues"]
        # Each process also has a queue of its own.
        return {
            name for each in found if not (name := each["name"]).startswith("process.")
        }

    expected = {"housekeeping", "transcribe.local", "webhooks"}
    assert wait_until(lambda: names() == expected, seconds=30)
    workers = flower(ready, "/api/workers").json()
    assert {name.partition("@")[0] for name in workers} == {"worker", "webhooks"}


def test_a_task_names_its_job_and_deepgrams_request(ready):
    key = {"authorization": f"Bearer {ready['api_key']}"}
    speech = (corpus.FOLDER / "train.mp3").read_bytes()
    with httpx.Client(base_url=ready["web"], headers=key, trust_env=False) as http:
        files = {"file": ("train.mp3", speech)}
        job = http.post("/v1/jobs", files=files, timeout=30).json()["id"]

        def tasks() -> dict[str, Any]:
            return dict(flower(ready, "/api/tasks").json())

        assert wait_until(
            lambda: tasks().get(f"{job}.1", {}).get("state") == "SUCCESS", seconds=30
        )
        (call,) = http.get(f"/v1/jobs/{job}/attempts").json()["data"]

    task = tasks()[f"{job}.1"]
    assert task["result"] == f"'ok {call['request_id']}'"
    assert flower(ready, f"/task/{job}.1").status_code == 200


def test_nobody_steers_there(ready):
    login = tuple(ready["flower_login"].split(":"))
    answer = httpx.post(
        f"{ready['flower']}/api/worker/shutdown/worker", auth=login, trust_env=False
    )

    assert answer.status_code == 403
