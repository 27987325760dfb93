"""DELETE /v1/jobs/{id}: what goes, what stays, and what stands in the way."""

import json
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from jobs.models import Attempt, Batch, Event, IdempotencyKey, Job, ObjectToErase
from jobs.retention import erasure, stored_objects
from tests.support.api import Api, accepted_job, assert_problem, files_in
from tests.support.factories import (
    make_job,
    make_key,
    make_region,
    make_transcript,
    make_wav,
    move_job,
)
from transcripts.models import Transcript
from workers.webhooks.delivery.fan_out import fan_out
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery, WebhookEndpoint

pytestmark = pytest.mark.django_db(transaction=True)
SECRETS = (
    "hush-name",
    "hush-metadata",
    "hush-callback",
    "hush-term",
    "hush-text",
    "hush-answer",
    "hush-body",
)
FIELDS = {
    "metadata": json.dumps({"patient": "hush-metadata"}),
    "options": json.dumps({"keyterm": ["hush-term"], "model": "nova-3"}),
    "callback_url": "https://hooks.example/hush-callback?token=hush-callback",
}


def upload_secret(api: Api, **headers: str) -> Job:
    return accepted_job(api.upload(name="hush-name.wav", headers=headers, **FIELDS))


def finish(job: Job) -> None:
    """Bring a job to its end with all that can hang on one."""
    now = timezone.now()
    move_job(
        job,
        "processing",
        region=make_region(),
        lease_token=1,
        lease_until=now + timedelta(seconds=30),
    )
    Attempt.objects.create(
        job=job,
        tenant=job.tenant,
        lease_token=1,
        region=make_region(),
        outcome="ok",
        started_at=now,
        finished_at=now,
        cost_estimate="0.5",
        audio_seconds=0.5,
    )
    move_job(job, "completed", duration_seconds=0.5)
    make_transcript(job, b'{"hush-text": 1}', text="hush-text")
    event = Event.objects.get(job=job, type="job.completed")
    endpoint = WebhookEndpoint.objects.create(tenant=job.tenant, url="https://h.test/")
    common = {"tenant": job.tenant, "event": event, "job": job, "created_at": now}
    told = WebhookDelivery.objects.create(
        **common,
        endpoint=endpoint,
        target=endpoint.pk.hex,
        status="delivered",
        finished_at=now,
    )
    DeliveryAttempt.objects.create(
        delivery=told,
        claim_token=1,
        started_at=now,
        duration_ms=1,
        status_code=200,
        response_excerpt="hush-answer",
    )
    WebhookDelivery.objects.filter(job=job, url=job.callback_url).update(
        target="hush-callback", body=b"hush-body"
    )


def all_that_is_stored(media) -> str:
    """Return every row of every table that is about jobs, and every stored file."""
    tables = (Job, Event, Attempt, IdempotencyKey, Transcript, ObjectToErase)
    hooks = (WebhookDelivery, DeliveryAttempt)
    rows = [str(list(table.objects.values())) for table in (*tables, *hooks)]
    return "\n".join([*rows, *files_in(media)])


def test_everything_of_the_customers_goes_and_the_sums_stay(api, media):
    job = upload_secret(api, **{"Idempotency-Key": "k"})
    finish(job)
    before = all_that_is_stored(media)
    assert [word for word in SECRETS if word not in before] == []

    answer = api.delete(f"/v1/jobs/{job.pk}")

    assert answer.status_code == 200
    receipt = answer.json()
    assert receipt == {
        "job_id": str(job.pk),
        "object": "erasure",
        "erased_at": receipt["erased_at"],
        "erased": {
            "audio": 1,
            "batches": 0,
            "events": 0,
            "idempotency_answers": 1,
            "transcripts": 1,
            "raw_documents": 1,
            "webhook_bodies": 1,
            "webhook_responses": 1,
            "webhooks_discarded": 1,
        },
    }
    after = all_that_is_stored(media)
    assert [word for word in SECRETS if word in after] == []
    assert files_in(media) == []
    assert not WebhookDelivery.objects.exclude(body=None).exists()
    attempt = Attempt.objects.get()
    assert (str(attempt.cost_estimate), attempt.audio_seconds) == ("0.500000", 0.5)
    event = Event.objects.get(type="job.erased")
    assert (event.actor, event.data["erased"]) == (
        f"key:{api.key.public_id}",
        receipt["erased"],
    )


def test_the_tombstone_shows_when_and_nothing_else(api):
    job = upload_secret(api)
    finish(job)
    erased_at = api.delete(f"/v1/jobs/{job.pk}").json()["erased_at"]

    shown = api.get(f"/v1/jobs/{job.pk}").json()

    assert shown["erased_at"] == erased_at
    assert shown["status"] == "completed"
    assert (shown["audio"], shown["metadata"]) == ({}, {})
    assert shown["options"] == {"model": "nova-3"}
    assert (shown["result_url"], shown["duration_seconds"]) == (None, 0.5)
    listed = api.get("/v1/jobs").json()["data"]
    assert [each["erased_at"] for each in listed] == [erased_at]
    assert len(api.get(f"/v1/jobs/{job.pk}/attempts").json()["data"]) == 1


def test_what_needs_the_content_says_that_it_is_gone(api):
    job = upload_secret(api, **{"Idempotency-Key": "k"})
    finish(job)
    api.delete(f"/v1/jobs/{job.pk}")

    assert_problem(api.get(f"/v1/transcripts/{job.pk}"), 410, "erased")
    assert_problem(api.post(f"/v1/jobs/{job.pk}/retry"), 410, "erased")
    file = SimpleUploadedFile("hush-name.wav", make_wav(), "audio/wav")
    again = api.form({"file": file, **FIELDS}, {"Idempotency-Key": "k"})

    assert_problem(again, 410, "erased")
    assert Job.objects.count() == 1


def test_twice_is_the_same_receipt(api):
    job = upload_secret(api)
    finish(job)

    first = api.delete(f"/v1/jobs/{job.pk}")
    second = api.delete(f"/v1/jobs/{job.pk}")

    assert (second.status_code, second.json()) == (200, first.json())
    assert Event.objects.filter(type="job.erased").count() == 1


@pytest.mark.parametrize("state", ["queued", "processing"])
def test_what_is_not_final_is_not_erased(api, state):
    job = make_job(api.tenant, status=state)

    problem = assert_problem(
        api.delete(f"/v1/jobs/{job.pk}"), 409, "job_state_conflict"
    )

    assert state in problem["detail"]
    job.refresh_from_db()
    assert (job.erased_at, job.audio_url) == (None, "https://audio.example.com/a.wav")
    assert not Event.objects.filter(type="job.erased").exists()


@pytest.mark.parametrize("state", ["completed", "failed", "canceled", "expired"])
def test_whatever_its_end_it_can_be_erased(api, state):
    job = make_job(api.tenant, status=state)

    assert api.delete(f"/v1/jobs/{job.pk}").status_code == 200

    job.refresh_from_db()
    assert (job.audio_url, job.error_detail) == ("", "")
    assert job.erased_at is not None
    told = str(list(Event.objects.filter(job=job).values_list("data", flat=True)))
    assert "It failed." not in told
    assert ("upstream_error" in told) is (state == "failed")


def test_it_needs_the_right_to_write_and_the_right_tenant(api):
    job = make_job(api.tenant, status="completed")
    stranger = Api()
    reader = Api(api.tenant)
    reader.key, reader.text = make_key(api.tenant, scopes=("jobs:read",))

    assert_problem(stranger.delete(f"/v1/jobs/{job.pk}"), 404, "not_found")
    assert_problem(reader.delete(f"/v1/jobs/{job.pk}"), 403, "scope_missing")
    assert_problem(
        api.delete(f"/v1/jobs/{job.pk}?really=yes"), 400, "parameter_unknown"
    )

    job.refresh_from_db()
    assert job.erased_at is None


def test_audio_that_a_retry_shares_goes_with_the_last_of_them(api, media):
    first = upload_secret(api)
    finish(first)
    second = Job.objects.get(
        pk=api.post(f"/v1/jobs/{first.pk}/retry").json()["id"],
    )

    erased = api.delete(f"/v1/jobs/{first.pk}").json()["erased"]
    assert erased["audio"] == 0
    assert files_in(media) == [second.upload]

    move_job(second, "canceled")
    erased = api.delete(f"/v1/jobs/{second.pk}").json()["erased"]
    assert erased["audio"] == 1
    assert files_in(media) == []


def test_a_batch_goes_with_the_last_of_its_jobs(api):
    url = "https://hooks.example/?token=hush-callback"
    audio = [{"audio_url": f"https://audio.example/{n}.wav"} for n in range(2)]
    body = {
        "items": audio,
        "metadata": {"name": "hush-metadata"},
        "callback_url": url,
    }
    made = api.post("/v1/batches", body, {"Idempotency-Key": "k"}).json()
    first, second = Job.objects.filter(batch=made["id"])
    for job in (first, second):
        move_job(job, "canceled")
    fan_out(limit=100, now=timezone.now())
    fan_out(limit=100, now=timezone.now())  # what that made of the batch
    told = WebhookDelivery.objects.get(
        event__batch=made["id"], event__type="batch.completed"
    )
    assert told.url == url

    receipts = [api.delete(f"/v1/jobs/{job.pk}").json() for job in (first, second)]

    assert [each["erased"]["batches"] for each in receipts] == [0, 1]
    shown = api.get(f"/v1/batches/{made['id']}").json()
    assert (shown["metadata"], shown["counts"]["canceled"]) == ({}, 2)
    assert shown["erased_at"] == receipts[1]["erased_at"]
    tables = (Batch, Job, Event, IdempotencyKey, WebhookDelivery)
    assert "hush" not in str([list(table.objects.values()) for table in tables])
    assert_problem(
        api.post("/v1/batches", body, {"Idempotency-Key": "k"}), 410, "erased"
    )
    told.refresh_from_db()
    assert (told.status, told.url, told.body) == ("discarded", "erased", None)


def test_a_storage_that_is_away_delays_only_the_objects(api, media, monkeypatch):
    job = upload_secret(api)
    finish(job)

    def fail(_name):
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(default_storage, "delete", fail)
        assert api.delete(f"/v1/jobs/{job.pk}").status_code == 200
        assert stored_objects.purge_left_over() == 0
    assert len(files_in(media)) == 2

    assert stored_objects.purge_left_over() == 2

    assert files_in(media) == []
    assert not ObjectToErase.objects.exists()


def test_an_eraser_that_fails_leaves_everything(api, media, settings, monkeypatch):
    job = upload_secret(api)
    finish(job)
    before = all_that_is_stored(media)
    settings.ERASERS = [*settings.ERASERS, "tests.integration.api.test_erasure.broken"]

    assert_problem(api.delete(f"/v1/jobs/{job.pk}"), 500, "server_error")

    assert all_that_is_stored(media) == before


def broken(jobs, now):
    raise RuntimeError(f"{len(jobs)} {now}")


def test_every_eraser_is_there_and_counts(settings):
    erasers = erasure.get_erasers(tuple(settings.ERASERS))

    counted = [set(erase([], timezone.now())) for erase in erasers]

    assert len(counted) == 3
    assert len(set.union(*counted)) == sum(map(len, counted))
