"""The Prometheus rules as files, by its own tool: they load, and each alert fires."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.outages.alerts import find_firing
from tests.outages.stand import Scrape
from tests.support import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
TESTS = FOLDER / "tests" / "alerts.yml"


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "tests/alerts.yml"),
    ],
)
def test_promtool_finds_nothing_wrong(words):
    if not shutil.which("promtool"):
        pytest.skip("Prometheus' rules are NOT tested: there is no promtool")

    told = subprocess.run(
        ("promtool", *words),
        check=False,
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert "FAILED" not in told.stdout + told.stderr


def test_prometheus_and_grafana_find_what_the_compose_file_starts():
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())
    services = compose["services"]
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    found = {
        (name, search["port"])
        for job in config["scrape_configs"]
        for search in job["dns_sd_configs"]
        for name in search["names"]
    }
    ours = {
        (name, service["environment"]["METRICS_PORT"])
        for name, service in services.items()
        if "METRICS_PORT" in service.get("environment", {})
    }
    provisioning = FOLDER.parent / "grafana" / "provisioning"
    boards = yaml.safe_load((provisioning / "dashboards/transcription.yml").read_text())
    folder = boards["providers"][0]["options"]["path"]

    assert len(found) == 7
    assert found <= ours | {("haproxy", 8404)}
    assert f"./deploy/grafana/dashboards:{folder}:ro" in services["grafana"]["volumes"]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_is_seen_silent_and_firing_and_leads_to_the_runbook(alert):
    name = alert["alert"]
    (world,) = yaml.safe_load(TESTS.read_text())["tests"]
    before, after = [
        each
        for each in world["promql_expr_test"]
        if f'"{name}", alertstate="firing"' in each["expr"]
    ]

    assert "exp_samples" not in before
    assert f'alertname="{name}", alertstate="firing"' in str(after["exp_samples"])
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert re.search(r"\w", alert["annotations"]["summary"])


def test_workers_are_scaled_by_what_the_overview_shows_as_the_queue():
    chart = yaml.safe_load((FOLDER.parent / "helm" / "values.yaml").read_text())
    (rules,) = yaml.safe_load((FOLDER / "rules/recording.yml").read_text())["groups"]
    recorded = {rule["record"]: rule["expr"] for rule in rules["rules"]}

    query = chart["processes"]["worker"]["autoscaling"]["query"]

    assert query == recorded["transcription:queue_audio_seconds"]


def scraped(**up: float) -> tuple[Scrape, Scrape]:
    """Return two scrapes of processes that respond (1) or do not (0)."""
    samples = {
        ("up", (("job", "transcription"), ("process", name))): value
        for name, value in up.items()
    }
    ticks = ("transcription_tick_seconds_count", (("process", "dispatcher"),))
    beat = ("transcription_heartbeat_age_seconds", (("role", "beat"),))
    return tuple(
        Scrape(at=at, samples={**samples, ticks: at, beat: 2.0}) for at in (1.0, 2.0)
    )


@pytest.mark.parametrize(
    ("up", "expected"),
    [({"web": 1.0}, set()), ({"web": 0.0}, {"NoWebServers", "TargetDown"})],
    ids=["web is up", "web is down"],
)
def test_without_haproxy_the_web_processes_themselves_are_watched(up, expected):
    if not shutil.which("promtool"):
        pytest.skip("Prometheus' rules are NOT tested: there is no promtool")

    before, firing = find_firing(scraped(web=1.0), scraped(**up), minutes=10)

    assert (before, firing) == (set(), expected)


def test_a_link_of_an_alert_is_a_full_url(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("Prometheus' rules are NOT tested: there is no promtool")
    (world,) = yaml.safe_load(TESTS.read_text())["tests"]
    base = world["external_labels"]["runbook"]
    alert = next(each for each in alerts() if each["alert"] == "StorageAway")
    annotations = {
        **alert["annotations"],
        "summary": alert["annotations"]["summary"].replace("{{ $value }}", "1"),
        "runbook_url": f"{base}#storageaway",
    }
    expected = {"exp_labels": alert["labels"], "exp_annotations": annotations}
    firing = {"eval_time": "12m", "alertname": "StorageAway", "exp_alerts": [expected]}
    rules = [str(path) for path in (FOLDER / "rules").glob("*.yml")]
    test = {**world, "promql_expr_test": [], "alert_rule_test": [firing]}
    whole = {"rule_files": rules, "evaluation_interval": "30s", "tests": [test]}
    (path := tmp_path / "tests.yml").write_text(yaml.safe_dump(whole))

    told = subprocess.run(
        ("promtool", "test", "rules", str(path)),
        check=False,
        capture_output=True,
        text=True,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert config["global"]["external_labels"]["runbook"].startswith("https://")
