"""Deployment's files against each other and the settings; `make check-deploy` runs more."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from transcribe_platform.version import VERSION

ROOT = Path(settings.BASE_DIR)
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
EXAMPLE = (ROOT / ".env.example").read_text()
HAPROXY = (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text()


def seconds(text: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600}
    return int(text[:-1]) * units[text[-1]]


def grace(name: str) -> int:
    return seconds(SERVICES[name].get("stop_grace_period", "10s"))


def haproxy_timeout(section: str, name: str) -> int:
    part = re.split(rf"^{section}$", HAPROXY, flags=re.MULTILINE)[1]
    found = re.search(rf"^    timeout {name} (\S+)$", part, re.MULTILINE)
    assert found
    return seconds(found[1])


def test_a_value_left_empty_is_not_its_comment():
    # Compose reads `NAME=  # text` as the text.
    assert re.findall(r"^\w+= +#.*$", EXAMPLE, re.MULTILINE) == []


def test_every_variable_of_the_compose_file_is_in_the_example():
    used = set(re.findall(r"\$\{(\w+)", TEXT))
    listed = set(re.findall(r"^([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    _, _, of_compose = EXAMPLE.partition("--- docker-compose.yml only")

    assert used <= listed
    assert set(re.findall(r"^([A-Z0-9_]+)=", of_compose, re.MULTILINE)) <= used


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_more_than_it_needs(name):
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    if name in OURS:
        assert service["read_only"]
        assert "cap_add" not in service
    else:
        assert re.search(r":v?\d+\.\d+", service["image"]), "a tag that stays"


def test_nothing_is_killed_while_its_longest_work_runs():
    call = settings.CALL_DEADLINE_SECONDS + settings.FINISH_GRACE_SECONDS
    assert grace("worker") >= call
    assert grace("web") > settings.LISTEN_WAIT_SECONDS
    assert grace("haproxy") >= grace("web")
    assert grace("webhooks") > 2 * settings.WEBHOOK_TIMEOUT_SECONDS
    assert grace("live") > settings.LIVE_SHUTDOWN_SECONDS + 5


def test_the_front_door_waits_longer_than_what_is_behind_it():
    for backend in ("web", "uploads"):
        waits = haproxy_timeout(f"backend {backend}", "server")
        assert waits > settings.LISTEN_WAIT_SECONDS
    beat = settings.EVENT_STREAM_HEARTBEAT_SECONDS
    assert haproxy_timeout("backend live", "server") > 2 * beat
    assert haproxy_timeout("backend live", "tunnel") > settings.LIVE_IDLE_SECONDS
    assert haproxy_timeout("defaults", "client") > settings.LIVE_IDLE_SECONDS


def test_every_process_is_asked_whether_it_gets_on():
    for name in OURS - {"migrate", "emulator"}:
        words = SERVICES[name]["healthcheck"]["test"]
        assert words[:4] == ["CMD", "python", "manage.py", "probe"]
        assert words[4] == (name if "--url" not in words else "web")


def test_the_chart_has_the_version_of_the_release():
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


def test_there_are_connections_for_every_pool():
    words = SERVICES["postgres"]["command"]
    most = next(int(w.split("=")[1]) for w in words if w.startswith("max_connections"))
    processes = sum(
        SERVICES[name]["deploy"].get("replicas", 1)
        for name in OURS - {"migrate", "emulator", "flower"}
    )

    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]
    assert most >= processes * pool + 10
