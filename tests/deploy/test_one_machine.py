"""docker-compose.yml as plain processes: each request lands where it should, through HAProxy."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from websockets.sync.client import connect

from deploy.local import compose
from tests.support import ROOT
from tests.support.sse import Stream
from transcribe_platform.s3 import S3Storage
from workers.embedded.binaries import scratch_folder
from workers.embedded.processes import log_tail, wait_until

SPEECH = ROOT / "workers" / "demo" / "speech" / "storm.flac"
SCALE = ("flower=0", "beat=0")
RAW = "encoding=linear16&sample_rate=16000"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A run, seen from its front door."""

    folder: Path
    told: dict[str, Any]

    @property
    def port(self) -> int:
        return int(self.told["front"].rsplit(":", 1)[1])

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.told['api_key']}"}
        headers |= more.pop("headers", {})
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.request(
                method, self.told["front"] + path, headers=headers, **more
            )

    def served_by(self, request: str, *, number: int = 1) -> set[str]:
        """Return the backends that HAProxy's log names for a request."""
        pattern = re.compile(rf" {re.escape(request)} \d+ (\w+)/")
        log = self.folder / "log" / "haproxy.log"
        found: list[str] = []

        def is_logged() -> bool:
            found[:] = pattern.findall(log.read_text())
            return len(found) >= number

        assert wait_until(is_logged, seconds=20), log_tail(log)
        return set(found)

    def sessions(self, backend: str) -> int:
        """Return how many requests a backend was given; its log tells only of ended ones."""
        text = httpx.get(f"{self.told['about']}/metrics", trust_env=False).text
        name = f'haproxy_backend_sessions_total{{proxy="{backend}"}}'
        return int(text.partition(name)[2].split(maxsplit=1)[0])

    def finish(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = {}

        def has_ended() -> bool:
            job.update(self.ask("GET", f"/v1/jobs/{job_id}").json())
            return job["status"] in {"completed", "failed"}

        assert wait_until(has_ended, seconds=60, every=0.2)
        return job


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    if not (shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists()):
        pytest.skip("haproxy is not installed: the processes behind it are NOT tested")
    folder = scratch_folder("transcribe-deploy-")
    ready, output = folder / "ready.json", folder / "out"
    scale = [word for pair in SCALE for word in ("--scale", pair)]
    with output.open("wb") as out:
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "deploy.local.one_machine",
                    "--port",
                    "0",
                    *scale,
                ),
                *("--data-dir", folder / "data", "--ready-file", ready),
            ],
            cwd=ROOT,
            stdout=out,
            stderr=out,
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, seconds=300)
        assert ready.exists(), log_tail(output)
        told = json.loads(ready.read_text())
        yield Machine(folder=folder / "data", told=told)
    finally:
        process.terminate()
        process.wait(90)
        shutil.rmtree(folder, ignore_errors=True)


pytestmark = pytest.mark.timeout(400)


def test_an_upload_goes_through_web_s3_and_a_worker(machine):
    with SPEECH.open("rb") as file:
        answer = machine.ask("POST", "/v1/jobs", files={"file": file})

    assert answer.status_code == 202
    job = machine.finish(answer.json()["id"])
    assert job["status"] == "completed"
    assert machine.ask("GET", f"/v1/transcripts/{job['id']}?format=text").text
    heard = machine.ask("GET", f"/v1/jobs/{job['id']}/audio").content
    assert heard == SPEECH.read_bytes()
    assert machine.served_by("POST /v1/jobs") == {"web"}
    store = machine.told["s3"]
    storage = S3Storage(
        bucket_name="recordings",
        endpoint_url=store["S3_ENDPOINT_URL"],
        access_key=store["S3_ACCESS_KEY"],
        secret_key=store["S3_SECRET_KEY"],
        region_name="us-east-1",
    )
    assert len(storage.listdir("audio")[0]) == len(storage.listdir("raw")[0]) == 1


def test_bodies_of_unknown_length_go_to_the_asgi_process(machine):
    answer = machine.ask(
        "POST",
        "/v1/auth/grant",
        content=iter([b'{"ttl_seconds"', b": 60}"]),
        headers={"Content-Type": "application/json"},
    )

    assert answer.json()["expires_in"] == 60
    assert machine.served_by("POST /v1/auth/grant") == {"uploads"}


def test_event_streams_are_served_by_live(machine):
    before = machine.sessions("live")
    with Stream(machine.port, "/v1/events", key=machine.told["api_key"]) as stream:
        assert stream.status == 200
        assert machine.sessions("live") == before + 1
        with SPEECH.open("rb") as file:
            made = machine.ask("POST", "/v1/jobs", files={"file": file}).json()
        types = {
            event.type for event in stream.next(3) if event.data["job_id"] == made["id"]
        }
    job = f"/v1/jobs/{made['id']}/events"
    with Stream(machine.port, job, key=machine.told["api_key"]) as stream:
        assert stream.next()[-1].data

    assert "job.completed" in types
    assert machine.served_by(f"GET {job}") == {"live"}


@pytest.mark.parametrize(
    ("path", "last"),
    [("/v1/live", {"type": "close"}), ("/v1/listen", {"type": "CloseStream"})],
)
def test_sockets_are_served_by_live(machine, path, last):
    url = f"ws://127.0.0.1:{machine.port}{path}?{RAW}"
    headers = {"Authorization": f"Token {machine.told['api_key']}"}
    with connect(
        url, additional_headers=headers, proxy=None, compression=None
    ) as socket:
        socket.send(bytes(32_000))
        socket.send(json.dumps(last))
        told = [json.loads(text)["type"] for text in socket]

    assert told[-1] in {"closed", "Metadata"}
    assert machine.served_by(f"GET {path}") == {"live"}


def test_deepgrams_door_for_files_is_served_by_web(machine):
    answer = machine.ask(
        "POST",
        "/v1/listen?model=nova-3",
        content=SPEECH.read_bytes(),
        headers={"Content-Type": "audio/flac"},
    )

    assert answer.status_code == 200, answer.text
    assert machine.served_by("POST /v1/listen") == {"web"}


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "X_Forwarded_For", "Forwarded", "X-Real-IP"]
)
def test_nobody_can_say_where_they_come_from(machine, name):
    draft = {"name": name, "scopes": ["jobs:read"], "allowed_ips": ["192.0.2.0/24"]}
    made = machine.ask("POST", "/v1/api-keys", json=draft).json()
    own = {"Authorization": f"Bearer {made['key']}"}

    answer = machine.ask("GET", "/v1/jobs", headers={**own, name: "192.0.2.1"})

    assert answer.status_code == 403, answer.text


@pytest.mark.parametrize("path", ["/metrics", "/%6Detrics", "/metrics/"])
def test_nobody_outside_sees_metrics(machine, path):
    answer = machine.ask("GET", path)

    assert answer.status_code == 404
    assert "# HELP" not in answer.text


def test_the_front_door_has_metrics_of_its_own(machine):
    def counts(line: str) -> bool:
        url = f"{machine.told['about']}/metrics"
        return line in httpx.get(url, trust_env=False).text

    # A server is active after its first health check.
    for backend in ("web", "live"):
        line = f'haproxy_backend_active_servers{{proxy="{backend}"}} 2'
        assert wait_until(partial(counts, line), seconds=10)


@pytest.mark.parametrize(
    "name", ["worker-1", "worker-2", "webhooks", "dispatcher-1", "dispatcher-2"]
)
def test_the_health_checks_are_content(machine, name):
    service = yaml.safe_load(compose.COMPOSE.read_text())["services"]
    words = service[name.partition("-")[0]]["healthcheck"]["test"][2:]
    folder = machine.folder / "probes" / name

    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PROBE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_door_that_ends_fails_no_request(machine):
    subprocess.run(["kill", str(machine.told["pids"]["web-1"])], check=True)

    codes = {machine.ask("GET", "/v1/jobs").status_code for _ in range(50)}

    assert codes == {200}
