"""A web process runs few requests of one tenant at the same time."""

import threading

import pytest

from jobs.concurrency import request_slots, thread_limits
from tests.support.api import Api, assert_problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def busy(settings, monkeypatch):
    """Return a client of a tenant whose only slot is held by another thread."""
    settings.MAX_RUNNING_REQUESTS = 1
    monkeypatch.setattr(request_slots, "WAIT_SECONDS", 0.05)
    api, is_held, is_over = Api(), threading.Event(), threading.Event()

    def hold():
        request_slots.acquire(api.tenant.pk)
        is_held.set()
        is_over.wait(10)
        request_slots.release()

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(10)
    yield api
    is_over.set()
    thread.join()


def test_a_request_beyond_the_limit_waits_and_is_refused(busy):
    answer = busy.get("/v1/me")

    assert_problem(answer, 503, "service_unavailable")
    assert answer.headers["Retry-After"]


def test_other_tenants_do_not_wait(busy):
    assert Api().get("/v1/me").status_code == 200


@pytest.mark.parametrize("path", ["/v1/me", "/v1/jobs?limit=0", "/v1/jobs/none"])
def test_a_request_releases_its_slot_however_it_ends(settings, monkeypatch, path):
    settings.MAX_RUNNING_REQUESTS = 1
    monkeypatch.setattr(request_slots, "WAIT_SECONDS", 0.05)
    api = Api()

    for _ in range(3):
        assert api.get(path).status_code != 503


def test_a_request_that_waits_for_a_client_holds_no_slot(settings):
    settings.MAX_RUNNING_REQUESTS = 1
    tenant = Api().tenant.pk
    request_slots.acquire(tenant)

    with thread_limits.reserve_waiting_thread(tenant):
        other = threading.Thread(target=request_slots.acquire, args=[tenant])
        other.start()
        other.join(5)

        assert not other.is_alive()
