import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from jobs import services
from jobs.models import Event, IdempotencyKey, Job
from tests.support.api import Api, assert_problem
from tests.support.factories import make_job
from workers.embedded.processes import wait_until

BODY = {"audio_url": "https://audio.example.com/a.wav", "metadata": {"order": 7}}


def post(api, key, body=None):
    return api.post("/v1/jobs", body or BODY, {"Idempotency-Key": key})


def test_the_same_request_is_answered_once(api):
    first, second = post(api, "k"), post(api, '"k"')

    assert Job.objects.count() == Event.objects.count() == 1
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (second.status_code, second.json()) == (202, first.json())
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Retry-After"] == first.headers["Retry-After"]


def test_the_order_of_fields_makes_no_other_request(api):
    post(api, "k")
    turned = dict(reversed(BODY.items()))

    assert post(api, "k", turned).headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    "change",
    [
        {"audio_url": "https://audio.example.com/b.wav"},
        {"metadata": {"order": "7"}},
        {"priority": "low"},
        {"expires_in_seconds": 60},
    ],
)
def test_another_request_under_the_same_key_is_a_conflict(api, change):
    post(api, "k")

    answer = post(api, "k", {**BODY, **change})

    assert_problem(answer, 422, "idempotency_key_reused")
    assert Job.objects.count() == 1


def test_without_a_key_every_request_is_its_own(api):
    for _ in range(2):
        api.post("/v1/jobs", BODY)

    assert (Job.objects.count(), IdempotencyKey.objects.count()) == (2, 0)


def test_a_key_is_the_tenants_own(api):
    post(api, "k")
    post(Api(), "k")

    assert Job.objects.count() == 2


def test_a_refused_request_may_be_mended_under_the_same_key(api):
    refused = post(api, "k", {**BODY, "priority": "asap"})
    mended = post(api, "k")

    assert (refused.status_code, mended.status_code) == (400, 202)
    assert "Idempotency-Replayed" not in mended.headers


@pytest.mark.parametrize(("hours", "jobs"), [(23.9, 1), (24.1, 2)])
def test_a_key_is_free_again_after_a_day(api, hours, jobs):
    post(api, "k")
    then = timezone.now() - timedelta(hours=hours)
    IdempotencyKey.objects.update(created_at=then)

    post(api, "k", BODY if jobs == 1 else {**BODY, "priority": "low"})

    assert Job.objects.count() == jobs
    assert IdempotencyKey.objects.count() == 1


def test_a_retry_is_made_once_per_key(api):
    ended = make_job(api.tenant, status="failed")
    path = f"/v1/jobs/{ended.pk}/retry"

    first = api.post(path, headers={"Idempotency-Key": "k"})
    second = api.post(path, headers={"Idempotency-Key": "k"})

    assert (first.status_code, first.json()) == (202, second.json())
    assert second.headers["Idempotency-Replayed"] == "true"
    assert Job.objects.filter(retry_of=ended).count() == 1


def test_a_key_used_for_one_route_is_free_for_another(api):
    ended = make_job(api.tenant, status="failed")
    post(api, "k")

    answer = api.post(f"/v1/jobs/{ended.pk}/retry", headers={"Idempotency-Key": "k"})

    assert "Idempotency-Replayed" not in answer.headers
    assert Job.objects.count() == 3


def waiting_for_a_lock():
    """Return how many sessions of this database wait for an advisory lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
            " WHERE locktype = 'advisory' AND NOT granted"
            " AND datname = current_database()"
        )
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_fifty_parallel_requests_are_one_job(monkeypatch):
    api = Api()
    start = threading.Barrier(50)
    entered = []
    submit_job = services.submit_job

    def submit_among_others(**draft):
        """Hold the first request in its transaction until another one is there."""
        entered.append(threading.get_ident())
        assert wait_until(lambda: len(entered) > 1 or waiting_for_a_lock(), seconds=30)
        return submit_job(**draft)

    monkeypatch.setattr(services, "submit_job", submit_among_others)

    def submit(_number):
        start.wait(timeout=30)
        try:
            return post(api, "k")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(submit, range(50)))

    assert [answer.status_code for answer in answers] == [202] * 50
    assert len(entered) == 1
    assert len({answer.json()["id"] for answer in answers}) == 1
    replayed = [a.headers.get("Idempotency-Replayed") for a in answers]
    assert sorted(replayed, key=str) == [None] + ["true"] * 49
    assert Job.objects.count() == Event.objects.count() == 1
    assert IdempotencyKey.objects.count() == 1
