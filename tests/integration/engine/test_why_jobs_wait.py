"""Why a queued job waits, as the API and the admin page of the job state it."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from jobs.models import Job, Region, Tenant, Worker
from jobs.scheduling.waiting import explain_wait
from tests.support.api import Api
from tests.support.factories import make_job, make_region, move_job

NOW = timezone.now()
LATER = NOW + timedelta(hours=7)


@pytest.fixture
def job(db):
    """A job that runs next."""
    make_region("eu", max_concurrent=2)
    Worker.objects.create(
        name="w", queues=["transcribe.eu"], slots=5, accepts_batches=True, seen_at=LATER
    )
    return make_job()


def set_all(model, **values):
    return lambda _job: model.objects.update(**values)


def run_others(job):
    Region.objects.update(max_concurrent=1)
    other = make_job(job.tenant)
    Job.objects.filter(pk=other.pk).update(
        status="processing", region="eu", worker="w", lease_until=NOW, ready=False
    )


def run_as_many_as_allowed(job):
    run_others(job)
    Region.objects.update(max_concurrent=5)
    Tenant.objects.update(max_in_flight=1)


CASES = {
    "tenant_paused": (set_all(Tenant, is_paused=True), None),
    "batch_paused": (set_all(Job, ready=False), None),
    "retry": (set_all(Job, ready=False, run_at=LATER), LATER),
    "region_closed": (set_all(Region, is_drained=True), None),
    "no_worker": (set_all(Worker, seen_at=NOW - timedelta(minutes=1)), None),
    "tenant_limit": (run_as_many_as_allowed, None),
    "no_permit": (run_others, None),
    "in_queue": (lambda _job: None, None),
}


@pytest.mark.parametrize("reason", CASES)
def test_each_reason_is_stated_by_the_api_and_on_the_jobs_page(job, reason):
    spoil, until = CASES[reason]
    spoil(job)
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))

    shown = Api(job.tenant).send("GET", f"/v1/jobs/{job.pk}").json()["waiting"]
    page = client.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()

    assert shown["reason"] == reason
    assert shown["until"] == (until and until.isoformat().replace("+00:00", "Z"))
    assert f"<code>{reason}</code> {shown['detail']}" in page


def test_a_paused_region_states_until_when(job):
    Region.objects.update(paused_until=LATER)

    waiting = explain_wait(job, now=NOW)

    assert (waiting.reason, waiting.until) == ("region_closed", LATER)


def test_a_job_that_ended_does_not_wait(job):
    ended = move_job(job, "canceled")

    assert explain_wait(ended, now=NOW) is None
