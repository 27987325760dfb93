"""One tenant's large bodies are parsed and checked one at a time."""

import pytest

from jobs.concurrency import parse_slots
from jobs.models import Job
from tests.support.api import Api, assert_problem

pytestmark = pytest.mark.django_db
ITEM = {"audio_url": "https://audio.example.com/a.wav"}
LARGE = {**ITEM, "metadata": {f"key {n}": "x" * 512 for n in range(16)}}
LARGE_FORM = {"metadata": '{"a": "' + "x" * parse_slots.LARGE_BYTES + '"}'}


@pytest.fixture
def busy(monkeypatch):
    """Give a tenant whose turn is taken; nobody waits for it."""
    monkeypatch.setattr(parse_slots, "WAIT_SECONDS", 0)
    monkeypatch.setattr(parse_slots, "LARGE_BYTES", 2 * 1024)
    api = Api()
    with parse_slots.parse_slot(api.tenant.pk, is_large=True):
        yield api


def test_a_large_body_waits_for_its_tenants_turn(busy):
    answer = busy.post("/v1/jobs", LARGE)

    assert_problem(answer, 503, "service_unavailable")
    assert answer.headers["Retry-After"]
    assert not Job.objects.exists()


def test_the_fields_of_a_form_wait_too(busy):
    answer = busy.client.post("/v1/jobs", LARGE_FORM, headers=busy.headers())

    assert_problem(answer, 503, "service_unavailable")


def test_many_items_wait_too(busy):
    items = [ITEM] * (parse_slots.MANY_ITEMS + 1)

    answer = busy.post("/v1/batches", {"items": items})

    assert_problem(answer, 503, "service_unavailable")


def test_small_bodies_and_other_tenants_do_not_wait(busy):
    assert busy.post("/v1/jobs", ITEM).status_code == 202
    assert Api().post("/v1/jobs", LARGE).status_code == 202
