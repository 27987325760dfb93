"""The Prometheus rules as files, by its own tool: they load, and each alert fires."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

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
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert re.search(r"\w", alert["annotations"]["summary"])
