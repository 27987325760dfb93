"""``Prefer: wait``: an answer that is held until the job has ended, or time is up."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connection, connections

from jobs.concurrency import thread_limits
from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.models import Job
from jobs.scheduling import dispatch, long_poll
from jobs.state import JobStatus
from jobs.telemetry.optional_redis import OptionalRedis
from tests.support.api import Api, assert_problem
from tests.support.factories import move_job
from workers.embedded.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
BODY = {"audio_url": "https://audio.example.com/a.wav"}


@pytest.fixture
def api():
    return Api()


@pytest.fixture(autouse=True)
def watch(monkeypatch):
    """Give the test a watch of its own, and see its thread end."""
    own = long_poll.JobWatcher()
    monkeypatch.setattr(long_poll, "_get_watcher", lambda: own)
    yield own
    assert wait_until(lambda: not own._is_polling, seconds=5)


@contextmanager
def posting(api, prefer, headers=None):
    """Post in a thread, as a web server does."""

    def post():
        try:
            return api.post("/v1/jobs", BODY, {"Prefer": prefer, **(headers or {})})
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(post)


def end(to=JobStatus.CANCELED, **changes):
    assert wait_until(Job.objects.exists, seconds=10)
    return move_job(Job.objects.get(), to, **changes)


def test_the_header_is_read_before_a_job_is_made(api, monkeypatch):
    def fail(_header):
        raise RuntimeError

    monkeypatch.setattr("jobs.api.jobs.views.Preferences.parse", fail)

    answer = api.post("/v1/jobs", BODY, {"Prefer": "wait=1"})

    assert answer.status_code == 500
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("to", "changes"),
    [
        (JobStatus.COMPLETED, {}),
        (JobStatus.FAILED, {"error_code": "x", "error_detail": "y"}),
        (JobStatus.CANCELED, {}),
    ],
)
def test_a_job_that_ends_in_time_is_the_answer(api, to, changes):
    with posting(api, "wait=30") as posted:
        job = end(to, **changes)
        answer = posted.result(timeout=10)

    assert (answer.status_code, answer.json()["status"]) == (201, to)
    assert answer.json()["id"] == str(job.pk)
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert answer.headers["Location"] == f"/v1/jobs/{job.pk}"
    assert "Retry-After" not in answer.headers


def test_a_job_that_does_not_is_followed_elsewhere(api):
    began = time.monotonic()

    answer = api.post("/v1/jobs", BODY, {"Prefer": "wait=1"})

    assert 1 <= time.monotonic() - began < 5
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["Retry-After"] == "2"
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=0", None),
        ("wait=abc", None),
        ("wait=-1", None),
        ("wait", None),
        ("return=minimal", None),
        ("respond-async", "respond-async"),
        ("respond-async, wait=0", "respond-async"),
    ],
)
def test_without_a_wait_that_makes_sense_nobody_waits(
    api, prefer, applied, monkeypatch
):
    monkeypatch.setattr(long_poll, "wait_for_end", lambda *_args, **_named: 1 / 0)

    answer = api.post("/v1/jobs", BODY, {"Prefer": prefer})

    assert answer.status_code == 202
    assert answer.headers.get("Preference-Applied") == applied


@pytest.mark.parametrize(
    ("prefer", "seconds"), [("wait=61", 60), ("wait=60", 60), ("wait=1, wait=9", 1)]
)
def test_nobody_waits_longer_than_a_minute(api, prefer, seconds, monkeypatch):
    asked = []

    def wait_for_end(_job_id, *, tenant_id, seconds):
        asked.append(seconds)
        return True

    monkeypatch.setattr(long_poll, "wait_for_end", wait_for_end)

    answer = api.post("/v1/jobs", BODY, {"Prefer": prefer})

    assert asked == [seconds]
    assert answer.headers["Preference-Applied"] == f"wait={seconds}"


def test_waiting_and_responding_async_is_waiting_first(api):
    with posting(api, "respond-async, wait=30") as posted:
        end()
        met = posted.result(timeout=10)
    late = api.post("/v1/jobs", BODY, {"Prefer": "respond-async, wait=1"})

    assert (met.status_code, met.headers["Preference-Applied"]) == (201, "wait=30")
    applied = late.headers["Preference-Applied"]
    assert (late.status_code, applied) == (202, "respond-async")


def test_a_repeated_request_waits_for_the_same_job(api):
    key = {"Idempotency-Key": "k"}
    api.post("/v1/jobs", BODY, key)

    with posting(api, "wait=30", key) as posted:
        end()
        answer = posted.result(timeout=10)

    assert (answer.status_code, answer.json()["status"]) == (201, "canceled")
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert Job.objects.count() == 1


def test_a_refused_request_waits_for_nothing(api):
    began = time.monotonic()

    answer = api.post("/v1/jobs", {}, {"Prefer": "wait=30"})

    assert_problem(answer, 400, "field_required")
    assert time.monotonic() - began < 5


def test_who_is_one_too_many_is_not_held(api, watch, monkeypatch):
    gate = FairSemaphore(1)
    monkeypatch.setattr(thread_limits, "waiting_requests", lambda: gate)

    with posting(api, "wait=30") as posted:
        assert wait_until(lambda: len(watch._waiting) == 1, seconds=10)
        began = time.monotonic()
        turned_away = api.post("/v1/jobs", BODY, {"Prefer": "wait=30"})
        assert time.monotonic() - began < 5
        for job in Job.objects.all():
            move_job(job, JobStatus.CANCELED)
        assert posted.result(timeout=10).status_code == 201

    assert turned_away.status_code == 202


def test_ten_who_wait_cost_one_look_at_a_time(api, watch, monkeypatch):
    looks, held = [], []
    find_final = long_poll._find_final

    def count(job_ids):
        job_ids = list(job_ids)
        looks.append((time.monotonic(), len(job_ids)))
        return find_final(job_ids)

    monkeypatch.setattr(long_poll, "_find_final", count)

    def wait(job_id, *, seconds):
        held.append(connection.connection)
        return watch.wait(job_id, seconds=seconds)

    monkeypatch.setattr(long_poll, "_get_watcher", lambda: SimpleNamespace(wait=wait))

    def post(_number):
        try:
            return api.post("/v1/jobs", BODY, {"Prefer": "wait=2"}).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(post, range(10)))

    assert statuses == [202] * 10
    assert held == [None] * 10  # each gave its connection back first
    assert max(number for _, number in looks) == 10
    spans = [later - sooner for (sooner, _), (later, _) in pairwise(looks)]
    assert min(spans) >= long_poll.SETTLE_SECONDS
    assert len(looks) <= 2 / long_poll.POLL_SECONDS + 15


def test_news_ends_the_wait_at_once(api, monkeypatch):
    monkeypatch.setattr(long_poll, "POLL_SECONDS", 20.0)
    monkeypatch.setattr(long_poll, "SETTLE_SECONDS", 0.01)

    with posting(api, "wait=30") as posted:
        end()
        began = time.monotonic()
        assert wait_until(lambda: dispatch.wake() or posted.done(), seconds=10)

    assert posted.result().status_code == 201
    assert time.monotonic() - began < 5


def test_without_redis_the_clock_ends_it(api, settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(dispatch, "_redis", OptionalRedis(settings.REDIS_URL))

    with posting(api, "wait=30") as posted:
        end()
        assert posted.result(timeout=10).status_code == 201


def test_a_database_that_is_away_for_a_moment_is_asked_again(api, monkeypatch):
    find_final, away = long_poll._find_final, [OperationalError("away")]

    def find(job_ids):
        if away:
            raise away.pop()
        return find_final(job_ids)

    monkeypatch.setattr(long_poll, "_find_final", find)

    with posting(api, "wait=30") as posted:
        end()
        assert posted.result(timeout=10).status_code == 201
    assert away == []
