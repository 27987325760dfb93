"""A port for each process: a range where one server has several, and whoever is late."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import ROOT
from workers.embedded.processes import free_port, wait_until
from workers.monitoring import exposition

ASKED = "django_http_requests_before_middlewares_total"
REQUESTS = 30


def free_ports() -> range:
    """Return two free ports in a row."""
    while True:
        port = free_port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            return range(port, port + 2)


def scrape(port: int) -> dict[str, float]:
    url = f"http://127.0.0.1:{port}/metrics"
    text = httpx.get(url, trust_env=False, timeout=5).text
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def answers(port: int) -> bool:
    try:
        return bool(scrape(port))
    except httpx.HTTPError:
        return False


def listens(port: int) -> bool:
    """Tell whether a connection can be made; that asks for nothing."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, range]]:
    """One granian with two workers, and the ports that they show their metrics on."""
    ports, door = free_ports(), free_ports()[0]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "granian", "--interface", "wsgi"),
                *("--host", "127.0.0.1", "--port", str(door), "--workers", "2"),
                *("--blocking-threads", "4", "transcribe_platform.wsgi:application"),
            ),
            cwd=ROOT,
            env={**os.environ, "METRICS_PORT": f"{ports[0]}-{ports[1]}"},
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{door}", ports
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.slow
def test_workers_of_one_server_have_a_port_each_and_add_up(served):
    url, ports = served
    assert wait_until(lambda: all(map(answers, ports)), seconds=60, every=0.2)
    door = int(url.rpartition(":")[2])
    assert wait_until(
        lambda: listens(door), seconds=20
    )  # a worker's app is loaded first

    for _ in range(REQUESTS):  # a connection each: the kernel deals them out
        assert httpx.get(f"{url}/health/live", trust_env=False).status_code == 200

    told = [scrape(port) for port in ports]
    assert sum(each[ASKED] for each in told) == REQUESTS
    of_processes = ("start_time_seconds", "resident_memory_bytes", "cpu_seconds_total")
    facts = {tuple(each[f"process_{fact}"] for fact in of_processes) for each in told}
    assert len(facts) == len(ports)


def test_who_finds_no_free_port_takes_the_first_that_becomes_free(
    settings, monkeypatch, caplog
):
    opened: list[int] = []

    def serve(port: int, addr: str) -> None:
        socket.create_server((addr, port)).close()
        opened.append(port)
        done.set()

    done = threading.Event()
    monkeypatch.setattr(exposition, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(prometheus_client, "start_http_server", serve)
    with ExitStack() as stack:
        taken = [
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
            for port in free_ports()
        ]
        settings.METRICS_PORTS = range(
            taken[0].getsockname()[1], taken[1].getsockname()[1] + 1
        )
        exposition.expose()
        assert not done.wait(0.1)
        assert "no free port for metrics" in caplog.text
        taken[1].close()
        assert done.wait(5)

    assert opened == [settings.METRICS_PORTS[1]]


def test_without_a_port_nothing_listens(settings, monkeypatch):
    monkeypatch.setattr(prometheus_client, "start_http_server", pytest.fail)
    settings.METRICS_PORTS = range(0)

    exposition.expose()
