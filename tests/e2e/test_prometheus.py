"""Metrics of a real run: sums over its processes, and a real Prometheus that asks them.

Every expression that is shipped (rules, alerts, dashboards) is put to it.
"""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from tests.support import ROOT
from tests.support.platform_run import Run
from tests.support.webhook_receiver import Receiver
from workers.demo import corpus
from workers.embedded.processes import free_port, wait_until

SPEECH = (corpus.FOLDER / "train.mp3").read_bytes()
DEPLOY = ROOT / "deploy"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("run_platform"),
]


def work(ready: dict[str, Any], hooks: Receiver) -> None:
    """Have a job of each door done, and one of them told to a receiver."""
    key = {"authorization": f"Bearer {ready['api_key']}"}
    file, told = {"file": ("train.mp3", SPEECH)}, len(hooks.received)
    with httpx.Client(base_url=ready["web"], timeout=60, trust_env=False) as http:
        form = {"callback_url": hooks.url + "?s=1"}
        http.post("/v1/jobs", data=form, files=file, headers=key).raise_for_status()
        http.post("/v1/transcribe", data={"mode": "sync"}, files=file, headers=key)
    url = ready["web"].replace("http", "ws", 1)
    with connect(
        f"{url}/v1/live?encoding=linear16&sample_rate=16000",
        additional_headers=key,
        proxy=None,
    ) as socket:
        socket.recv()
        socket.send(bytes(16_000))
        socket.send('{"type": "close"}')
        for _ in socket:
            pass
    hooks.wait_for(told + 1)


@pytest.fixture(scope="module")
def worked(first_run: Run, hooks: Receiver) -> dict[str, Any]:
    work(ready := first_run.ready(), hooks)
    return ready


def scrape(ready: dict[str, Any]) -> dict[str, Counter[tuple[str, ...]]]:
    """Return the samples of each process by name and label values."""
    told: dict[str, Counter[tuple[str, ...]]] = {}
    for process, url in ready["metrics"].items():
        text = httpx.get(url, trust_env=False, timeout=10).text
        told[process] = Counter()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = sorted(sample.labels.items())
                told[process][sample.name, *(value for _, value in labels)] = (
                    sample.value
                )
    return told


def summed(
    told: dict[str, Counter[tuple[str, ...]]], name: str, place: int
) -> dict[str, float]:
    """Return a counter's sums over processes by one of its labels."""
    sums: Counter[str] = Counter()
    for samples in told.values():
        for (each, *labels), value in samples.items():
            if each == name and value:
                sums[labels[place] if labels else ""] += value
    return dict(sums)


# Counter, place of the label among the sorted, and what the database says of it.
COUNTED = {
    "transcription_requests_total": (
        2,
        "SELECT status, count(*) FROM jobs_job WHERE finished_at IS NOT NULL GROUP BY 1",
    ),
    "transcription_jobs_submitted_total": (
        0,
        "SELECT mode, count(*) FROM jobs_job GROUP BY 1",
    ),
    "deepgram_calls_total": (
        2,
        "SELECT outcome, count(*) FROM jobs_attempt"
        " WHERE outcome IN ('ok', 'error') GROUP BY 1",
    ),
    "transcription_audio_seconds_total": (
        0,
        "SELECT model, sum(audio_seconds) FROM jobs_attempt GROUP BY 1",
    ),
    "transcription_cost_dollars_total": (
        0,
        "SELECT model, sum(cost_estimate)::float8 FROM jobs_attempt GROUP BY 1",
    ),
    "transcription_webhook_seconds_count": (
        0,
        "SELECT '', count(*) FROM webhooks_deliveryattempt",
    ),
}


def test_sums_over_all_processes_are_what_the_database_says(worked):
    def look() -> tuple[dict[str, Any], dict[str, Any]]:
        with psycopg.connect(worked["database_url"]) as connection:
            stored = {
                name: {
                    key: value
                    for key, value in connection.execute(query.encode()).fetchall()
                    if value
                }
                for name, (_, query) in COUNTED.items()
            }
        told = scrape(worked)
        counted = {name: summed(told, name, it) for name, (it, _) in COUNTED.items()}
        return counted, {name: pytest.approx(each) for name, each in stored.items()}

    def agree() -> bool:
        counted, stored = look()
        return counted == stored

    wait_until(agree, seconds=10, every=0.2)
    counted, stored = look()
    assert counted == stored
    assert all(counted.values())


def test_each_process_shows_what_is_its_own(worked):
    told = scrape(worked)

    assert set(told) == {"web", "dispatcher", "worker", "webhooks", "beat"}
    assert all(samples["process_cpu_seconds_total",] > 0 for samples in told.values())
    ticking = [it for it in told if told[it]["transcription_tick_seconds_count",]]
    assert ticking == ["dispatcher"]
    assert [it for it in told if ("transcription_queue_depth",) in told[it]] == ticking
    assert told["web"]["transcription_live_sessions_opened_total",] >= 1
    assert told["webhooks"]["transcription_webhook_seconds_count",] >= 1
    streams = ("deepgram_active_connections", "stream", "local")
    assert [it for it in told if streams in told[it]] == ["web"]
    assert told["worker"]["transcription_latency_seconds_count", "nova-3"] >= 1


# --- a real Prometheus


class Prometheus:
    """The server, and what it answers."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: str) -> Any:
        answer = self._http.get(f"/api/v1/{path}", params=params).json()
        assert answer["status"] == "success", (params, answer)
        return answer["data"]

    def is_up(self) -> bool:
        try:
            up = self.get("query", query='up{job="transcription"} == 1')
        except (httpx.HTTPError, ValueError):  # "Service Unavailable", while it starts
            return False
        return len(up["result"]) == 5

    def find(self, query: str) -> list[Any]:
        return list(self.get("query", query=query)["result"])


def configure(folder: Path, targets: Path) -> Path:
    """Write the shipped configuration, asking every second, of these targets alone."""
    shipped = DEPLOY / "prometheus"
    config = yaml.safe_load((shipped / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(shipped / each) for each in config["rule_files"]]
    (job, _haproxy) = config["scrape_configs"]
    config["scrape_configs"] = [job]
    del job["dns_sd_configs"]
    job["file_sd_configs"] = [{"files": [str(targets)]}]
    (path := folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def prometheus(
    worked: dict[str, Any],
    first_run: Run,
    hooks: Receiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    if not shutil.which("prometheus"):
        pytest.skip("queries are NOT tested: there is no prometheus")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    config = configure(folder, first_run.folder / "metrics-targets.json")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            (
                *("prometheus", f"--config.file={config}", "--log.level=warn"),
                *(f"--storage.tsdb.path={folder / 'data'}",),
                f"--web.listen-address=127.0.0.1:{port}",
            ),
            stdout=log,
            stderr=log,
        )
        server = Prometheus(f"http://127.0.0.1:{port}")
        try:
            assert wait_until(server.is_up, seconds=60, every=0.3), (
                folder / "log"
            ).read_text()
            work(worked, hooks)  # what it sees as an increase
            yield server
        finally:
            server.close()
            process.terminate()
            process.wait(20)


def recorded() -> dict[str, str]:
    groups = yaml.safe_load((DEPLOY / "prometheus/rules/recording.yml").read_text())
    return {
        rule["record"]: rule["expr"]
        for group in groups["groups"]
        for rule in group["rules"]
    }


def alerted() -> dict[str, str]:
    groups = yaml.safe_load((DEPLOY / "prometheus/rules/alerts.yml").read_text())
    return {
        rule["alert"]: rule["expr"]
        for group in groups["groups"]
        for rule in group["rules"]
    }


def drawn() -> dict[str, str]:
    """Return the expressions of all dashboards, by where they stand."""
    return {
        f"{path.stem}: {panel['title']}: {target['legendFormat']}": target["expr"]
        for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    }


def test_every_rule_and_every_panel_has_data(prometheus):
    wanted = recorded() | {name: name for name in recorded()} | drawn()
    assert len(wanted) > 80

    def lacking() -> list[str]:
        return [name for name, query in wanted.items() if not prometheus.find(query)]

    wait_until(lambda: not lacking(), seconds=30, every=1)
    assert lacking() == []


def test_no_rule_fails_and_nothing_pages_while_all_is_well(prometheus):
    groups = prometheus.get("rules")["groups"]
    failed = {
        rule["name"]: rule["lastError"]
        for group in groups
        for rule in group["rules"]
        if rule["health"] == "err"
    }

    assert failed == {}
    names = {rule["name"] for group in groups for rule in group["rules"]}
    assert names >= set(alerted())
    pages = prometheus.find('ALERTS{severity="page", alertstate="firing"}')
    assert pages == []


def test_dashboards_load_as_grafana_wants_them():
    paths = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
    boards = [json.loads(path.read_text()) for path in paths]

    assert [path.stem for path in paths] == [
        *("live", "overview", "processes", "upstream", "webhooks"),
    ]
    for board in boards:
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
        assert board["uid"].startswith("transcription-")
        assert all(panel["gridPos"]["w"] <= 24 for panel in board["panels"])
        asked = {it["datasource"]["uid"] for it in board["panels"]}
        assert asked == {"${datasource}"}
