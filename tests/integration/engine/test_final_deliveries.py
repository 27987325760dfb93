"""However a job ends, the transaction that ends it writes its webhook deliveries."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from jobs import calls, services
from jobs.batches.records import BatchDraft
from jobs.errors import UpstreamError
from jobs.models import Batch, Event, Job
from jobs.scheduling import dispatch
from jobs.services import JobDraft
from tests.support.batches import submit_batch
from tests.support.factories import make_tenant, move_job
from tests.support.fake_backend import FakeBackend
from tests.support.parallel import in_parallel
from workers.webhooks.delivery.fan_out import fan_out
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

CALLBACK = "https://call.example/back"
REJECTED = UpstreamError("No audio.", code="audio_unreadable")


def complete(engine, job: Job) -> None:
    engine.tick()
    engine.run(job, FakeBackend())


def fail(engine, job: Job) -> None:
    engine.tick()
    engine.run(job, FakeBackend(REJECTED))


def cancel(_engine, job: Job) -> None:
    services.cancel_job(job=job, now=timezone.now())


def expire(engine, job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    engine.tick()


def crash_three_workers(engine, job: Job) -> None:
    for _ in range(3):
        engine.tick()
        job.refresh_from_db()
        calls.start_call(
            job_id=job.pk,
            lease_token=job.lease_token,
            worker="worker-1",
            now=timezone.now(),
        )
        engine.lose_lease(job)
    engine.tick()
    engine.run(job, FakeBackend())


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (complete, "completed"),
        (fail, "failed"),
        (crash_three_workers, "failed"),
        (cancel, "canceled"),
        (expire, "expired"),
    ],
)
def test_every_end_has_its_deliveries_and_leaves_nothing_to_fan_out(
    engine, end, status
):
    endpoint = WebhookEndpoint.objects.create(tenant=engine.tenant, url="https://h.x/")
    job = engine.submit(callback_url=CALLBACK, max_attempts=1)

    end(engine, job)

    event = Event.objects.get(job=job, type=f"job.{status}")
    found = WebhookDelivery.objects.filter(event=event, job=job)
    assert set(found.values_list("endpoint", "url", "status")) == {
        (endpoint.pk, "", "pending"),
        (None, CALLBACK, "pending"),
    }
    assert fan_out(limit=10, now=timezone.now()) == 0


def test_a_subscriber_that_fails_ends_nothing_and_leaves_no_delivery(engine, settings):
    settings.EVENT_SUBSCRIBERS = [*settings.EVENT_SUBSCRIBERS, "math.sqrt"]
    job = engine.submit(callback_url=CALLBACK)

    with pytest.raises(TypeError), transaction.atomic():
        cancel(engine, job)

    job.refresh_from_db()
    assert job.status == "queued"
    assert not WebhookDelivery.objects.exists()


def test_only_an_end_with_deliveries_wakes_the_dispatcher(
    engine, monkeypatch, django_capture_on_commit_callbacks
):
    woken = []
    monkeypatch.setattr(dispatch, "wake", lambda: woken.append(True))

    for callback_url in ("", CALLBACK):
        job = engine.submit(callback_url=callback_url)
        with django_capture_on_commit_callbacks(execute=True):
            cancel(engine, job)

    assert woken == [True]


def test_each_tenants_endpoints_hear_of_its_own_jobs(engine):
    other = make_tenant(name="other")
    for tenant in (engine.tenant, other):
        WebhookEndpoint.objects.create(tenant=tenant, url="https://h.x/")
    jobs = [engine.submit(), engine.submit(tenant=other)]

    services.advance(Job.objects.all(), to="canceled", at=timezone.now())

    assert [WebhookDelivery.objects.get(job=job).endpoint.tenant for job in jobs] == [
        engine.tenant,
        other,
    ]


def batch_of(engine, number: int) -> list[Job]:
    drafts = [
        JobDraft(audio_url=f"https://a.example/{n}.wav", callback_url=CALLBACK)
        for n in range(number)
    ]
    draft = BatchDraft(jobs=drafts, metadata={})
    submit_batch(tenant=engine.tenant, api_key=None, draft=draft, now=timezone.now())
    return list(Job.objects.all())


def test_the_fan_out_only_counts_a_job_of_a_batch(engine):
    for job in batch_of(engine, 2):
        move_job(job, "canceled")
    endpoint = WebhookEndpoint.objects.create(tenant=engine.tenant, url="https://h.x/")

    assert fan_out(limit=10, now=timezone.now()) == 2

    assert Batch.objects.get().canceled == 2
    assert WebhookDelivery.objects.filter(url=CALLBACK).count() == 2
    # It was added after the jobs had ended.
    assert not WebhookDelivery.objects.filter(endpoint=endpoint).exists()


def test_an_older_fan_out_beside_newer_writers_doubles_nothing(engine):
    WebhookEndpoint.objects.create(tenant=engine.tenant, url="https://h.x/")
    for job in batch_of(engine, 2):
        move_job(job, "canceled")
    written = set(WebhookDelivery.objects.values_list("pk"))

    # Older code does not know the column and inserts what is missing.
    Event.objects.update(has_deliveries=False)
    assert fan_out(limit=10, now=timezone.now()) == 2

    assert len(written) == 4
    assert set(WebhookDelivery.objects.values_list("pk")) == written
    assert Batch.objects.get().canceled == 2


def test_the_newer_fan_out_beside_older_writers_loses_nothing(engine, settings):
    settings.EVENT_SUBSCRIBERS = []
    for job in batch_of(engine, 2):
        move_job(job, "canceled")
    assert not WebhookDelivery.objects.exists()

    assert fan_out(limit=10, now=timezone.now()) == 2

    assert WebhookDelivery.objects.filter(url=CALLBACK).count() == 2
    assert Batch.objects.get().canceled == 2


@pytest.mark.django_db(transaction=True)
def test_a_job_that_ends_does_not_wait_for_its_batch(engine):
    (job,) = batch_of(engine, 1)

    def cancel_impatiently() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        cancel(engine, job)

    with transaction.atomic():
        Batch.objects.select_for_update().get()
        in_parallel(1, cancel_impatiently)

    assert WebhookDelivery.objects.get().job == job
