import os
import signal
import socket
import sys
import threading
import time
from datetime import timedelta

import httpx
import pytest
import redis
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY

from jobs.models import Beacon, Job, Worker
from tests.support import ROOT
from tests.support.factories import make_job, make_key, make_region
from tests.support.waiting import port_is_open
from transcribe_platform import health
from transcripts.outcomes import result_storage
from workers.embedded import processes
from workers.embedded.processes import ProcessCommand
from workers.liveness import graceful_shutdown, process_rows
from workers.monitoring import shared, stores
from workers.monitoring.components import read_components
from workers.ratelimit import permits

WELL = {
    "process": "ok",
    "database": "ok",
    "redis": "ok",
    "uploads": "ok",
    "regions": "none",
    "region": "ok",
}


@pytest.fixture(autouse=True)
def fresh():
    def forget():
        health.check_migrated.cache_clear()
        health._get_redis.cache_clear()
        permits.get_permit_reader.cache_clear()
        read_components.forget()
        stores.is_storage_available.forget()
        graceful_shutdown._draining.clear()

    forget()
    yield
    forget()


def test_a_live_process_asks_nobody(django_assert_num_queries, db):
    with django_assert_num_queries(0):
        answer = Client().get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_means_a_migrated_database(db):
    answer = Client().get("/health/ready")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": WELL}


def test_a_database_that_is_behind_is_not_ready_and_is_looked_at_again(db):
    applied = MigrationRecorder.Migration.objects.filter(app="jobs")
    rows = list(applied)
    applied.delete()

    answer = Client().get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "not_migrated"

    MigrationRecorder.Migration.objects.bulk_create(rows)
    assert Client().get("/health/ready").status_code == 200


def test_a_database_that_is_away_is_not_ready(db, monkeypatch):
    def away(*_args):
        raise OperationalError("secret host")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", away)
        answer = Client().get("/health/ready")

    assert answer.status_code == 503
    checks = WELL | {"database": "away", "regions": "unknown"}
    assert answer.json() == {"status": "unready", "checks": checks}


def test_redis_away_is_said_and_is_not_fatal(db, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    answer = Client().get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["checks"] == WELL | {"redis": "away"}


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_is_only_looked_at(db, path):
    assert Client().post(path).status_code == 405


def test_a_server_of_a_closed_region_sends_clients_to_another(db, settings):
    settings.SERVER_REGION = "eu"
    own = make_region(name="eu", is_drained=True)

    # With nowhere else to go, jobs are accepted here and wait.
    assert Client().get("/health/ready").status_code == 200
    make_region(name="us")
    answer = Client().get("/health/ready")
    assert (answer.status_code, answer.json()["checks"]["region"]) == (503, "closed")
    own.is_drained = False
    own.save()
    assert Client().get("/health/ready").json()["checks"] == WELL | {"regions": "ok"}


@pytest.fixture
def platform(db, broker):
    """All parts there and well."""
    now = timezone.now()
    make_region(name="eu")
    Worker.objects.create(
        name="a", queues=["transcribe.eu"], slots=20, busy=3, seen_at=now
    )
    Worker.objects.create(name="b", queues=["webhooks"], slots=10, seen_at=now)
    for role in ("dispatcher", "beat"):
        Beacon.objects.create(name=role, role=role, seen_at=now)


def look(client=None, **headers):
    read_components.forget()
    stores.is_storage_available.forget()
    return (client or Client()).get("/health", headers=headers)


PARTS = [
    "web",
    "database",
    "redis",
    "storage",
    "workers",
    "webhooks",
    "dispatcher",
    "beat",
    "regions",
    "queue",
]


def test_all_is_well_and_the_public_reads_no_more(platform):
    make_job()
    answer = look()

    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"status", "at", "parts"}
    assert body["status"] == "ok"
    assert body["parts"] == dict.fromkeys(PARTS, "ok")


def test_operators_read_what_is_known(platform):
    ada = Client()
    ada.force_login(User.objects.create_superuser("ada"))
    eve = Client()
    eve.force_login(User.objects.create_user("eve", is_staff=True))

    details = look(ada).json()["details"]

    assert details["workers"] == "1 alive, 3 of 20 slots busy"
    assert details["regions"] == "eu: well"
    assert details["queue"] == "0 jobs ready to run"
    assert details["dispatcher"].startswith("last heartbeat ")
    assert "details" not in look(eve).json()
    assert "3 of 20 slots busy" in look(ada, accept="text/html").content.decode()


def age_of(job, at):
    Job.objects.filter(pk=job.pk).update(created_at=at)


@pytest.mark.parametrize(
    ("part", "state", "spoil"),
    [
        (
            "dispatcher",
            "away",
            lambda ago: Beacon.objects.filter(role="dispatcher").update(seen_at=ago),
        ),
        ("beat", "away", lambda _: Beacon.objects.filter(role="beat").delete()),
        (
            "workers",
            "away",
            lambda ago: Worker.objects.filter(name="a").update(seen_at=ago),
        ),
        (
            "webhooks",
            "away",
            lambda ago: Worker.objects.filter(name="b").update(seen_at=ago),
        ),
        ("regions", "degraded", lambda _: make_region(name="us", is_drained=True)),
        ("queue", "degraded", lambda ago: age_of(make_job(), ago)),
        ("workers", "degraded", lambda _: make_region(name="us")),
    ],
)
def test_what_is_not_well_is_named_and_requests_still_come(
    platform, part, state, spoil
):
    spoil(timezone.now() - timedelta(hours=1))

    answer = look()

    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["parts"] == dict.fromkeys(PARTS, "ok") | {part: state}


def test_without_redis_it_is_degraded(platform, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert look().json()["parts"]["redis"] == "away"


def test_without_a_database_it_is_down(platform, monkeypatch):
    def away(*_args):
        raise OperationalError("secret host")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", away)
        answer = look()

    assert answer.status_code == 503
    assert answer.json()["status"] == "down"
    assert answer.json()["parts"] == {"web": "ok", "database": "away"}
    assert "secret" not in answer.content.decode()


def test_browsers_get_a_page(platform):
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = look(**browser).content.decode()
    Beacon.objects.all().delete()

    assert "All components are healthy" in page
    assert "slots busy" not in page
    assert "Degraded" in look(**browser).content.decode()


def test_a_beacon_is_renewed_and_taken_away(db):
    old = Beacon.objects.create(
        name="old", role="beat", seen_at=timezone.now() - timedelta(hours=2)
    )
    for name, ago in (("dead", 2.0), ("silent", 0.9)):
        seen_at = timezone.now() - timedelta(hours=ago)
        Worker.objects.create(name=name, slots=1, seen_at=seen_at)
    process_rows._not_before = 0.0
    process_rows.announce("beat")
    process_rows.announce("beat")

    (row,) = Beacon.objects.all()
    assert row.role == "beat"
    assert row.pk != old.pk
    assert [worker.name for worker in Worker.objects.all()] == ["silent"]
    process_rows.withdraw()
    assert not Beacon.objects.exists()


@pytest.fixture(params=["wsgi", "asgi"])
def server(request, tmp_path):
    port = processes.free_port()
    command = ProcessCommand(
        argv=(
            *(sys.executable, "-m", "granian", "--interface", request.param),
            *("--host", "127.0.0.1", "--port", str(port)),
            f"transcribe_platform.{request.param}:application",
        ),
        log=tmp_path / "web.log",
        env={**os.environ, "DRAIN_SECONDS": "2"},
        cwd=ROOT,
        death_signal=signal.SIGKILL,
    )
    process = processes.spawn(command)
    assert processes.wait_until(lambda: port_is_open(port), seconds=60)
    yield process, f"http://127.0.0.1:{port}"
    processes.stop(process, signal.SIGKILL, grace=1)


@pytest.mark.e2e
def test_a_server_that_is_told_to_stop_says_so_before_it_does(server):
    process, url = server

    def ask(path):  # each on a connection of its own
        return httpx.get(f"{url}{path}", trust_env=False, timeout=10)

    assert processes.wait_until(
        lambda: ask("/health/live").status_code == 200, seconds=60
    )
    assert ask("/health/ready").json()["checks"]["process"] == "ok"
    told_at = time.monotonic()
    process.send_signal(signal.SIGTERM)

    assert processes.wait_until(
        lambda: ask("/health/ready").json()["checks"]["process"] == "draining",
        seconds=2,
    )
    assert ask("/health/live").status_code == 200
    assert process.wait(30) == 0
    assert time.monotonic() - told_at >= 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))).close()


def test_a_region_drained_with_waiting_jobs_is_reported(platform):
    make_region(name="us", is_drained=True)
    Job.objects.filter(pk=make_job().pk).update(lane="us")

    parts = look().json()["parts"]

    assert parts == dict.fromkeys(PARTS, "ok") | {
        "regions": "degraded",
        "queue": "degraded",
    }


def test_a_paused_tenants_jobs_are_no_outage(platform):
    job = make_job()
    age_of(job, timezone.now() - timedelta(hours=1))
    job.tenant.is_paused = True
    job.tenant.save()

    assert look().json()["status"] == "ok"


def make_read_only():
    """Make the test's transaction read-only, as all are on a demoted primary."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL transaction_read_only = on")


def test_a_read_only_database_is_not_ready_and_takes_no_jobs(platform):
    _, key = make_key()
    make_read_only()
    client = Client(raise_request_exception=False)

    answer = client.post(
        "/v1/jobs",
        {"url": "https://example.com/a.wav"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )

    assert answer.status_code == 503
    assert answer.json()["code"] == "service_unavailable"
    assert answer.headers["Retry-After"] == "5"


def test_a_read_only_database_is_down_in_health_and_metrics(platform, monkeypatch):
    make_read_only()

    ready, overview = Client().get("/health/ready"), look()
    monkeypatch.setattr(shared, "read_families", list)
    is_up, families = shared._read_state()

    assert ready.status_code == overview.status_code == 503
    assert ready.json()["checks"]["database"] == "read_only"
    assert overview.json()["parts"] == {"web": "ok", "database": "away"}
    assert (is_up, families) == (False, [])


@pytest.fixture
def full_redis(settings, own_redis):
    """A Redis whose memory is exhausted."""
    settings.REDIS_URL = own_redis().url
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.config_set("maxmemory", 1)


def test_a_full_redis_is_reported_and_requests_still_come(platform, full_redis):
    ready, parts = Client().get("/health/ready"), look().json()["parts"]
    (family,) = [
        each
        for each in shared.read_families()
        if each.name == "transcription_redis_writable"
    ]

    assert (ready.status_code, ready.json()["checks"]["redis"]) == (200, "full")
    assert parts == dict.fromkeys(PARTS, "ok") | {"redis": "degraded"}
    assert [sample.value for sample in family.samples] == [0]


def test_a_storage_that_takes_nothing_is_reported(platform, settings, tmp_path):
    file = tmp_path / "not-a-folder"
    file.touch()
    settings.INCOMING_ROOT = file / "incoming"
    settings.MEDIA_ROOT = file

    ready, parts = Client().get("/health/ready"), look().json()["parts"]

    assert (ready.status_code, ready.json()["checks"]["uploads"]) == (200, "away")
    assert parts == dict.fromkeys(PARTS, "ok") | {"storage": "away"}


def test_a_worker_that_cannot_store_results_is_in_its_metrics(monkeypatch):
    before = REGISTRY.get_sample_value("transcription_storage_up")
    unavailable = threading.Event()
    unavailable.set()
    monkeypatch.setattr(result_storage, "_is_unavailable", unavailable)

    assert before == 1
    assert REGISTRY.get_sample_value("transcription_storage_up") == 0
