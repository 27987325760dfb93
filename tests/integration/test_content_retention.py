"""Audio, transcripts and payloads that go before their job does, by a moved clock."""

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection

from jobs import services
from jobs.models import Event, Job
from jobs.retention import erasure, retention, stored_objects
from tests.support.factories import make_job, make_key, make_tenant, make_transcript
from tests.support.python_process import run_python
from transcripts.models import SearchEntry, Transcript
from workers.queue import tasks
from workers.webhooks.models import WebhookDelivery

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def media(tmp_path, settings):
    settings.MEDIA_ROOT = tmp_path / "media"


def end_job(tenant: Any, **draft: Any) -> Job:
    """Make a job with all it can hold, ended at START."""
    upload = default_storage.save("audio/a.wav", ContentFile(b"sound"))
    with time_machine.travel(START, tick=False):
        draft = {"upload": upload, "filename": "a.wav", "sha256": "ab"} | draft
        job = make_job(tenant, status="completed", **draft)
        make_transcript(job, b"{}")
    event = Event.objects.get(job=job, type="job.completed")
    WebhookDelivery.objects.create(
        tenant=job.tenant,
        event=event,
        job=job,
        url="https://hooks.example.com/",
        target="hooks.example.com",
        status="delivered",
        body=b"what was said",
        created_at=START,
        finished_at=START,
    )
    return job


def held(job: Job) -> dict[str, bool]:
    """Tell what of a job is still there."""
    row = Job.objects.get(pk=job.pk)
    return {
        "audio": bool(row.upload) and default_storage.exists(row.upload),
        "transcript": Transcript.objects.filter(pk=job.pk).exists(),
        "payload": WebhookDelivery.objects.filter(job=job).exclude(body=None).exists(),
        "job": row.erased_at is None,
    }


def holds(*names: str) -> dict[str, bool]:
    return {n: n in names for n in ("audio", "transcript", "payload", "job")}


def sweep(days: float) -> None:
    with time_machine.travel(START + days * DAY, tick=False):
        tasks.retention_of_jobs()
        tasks.retention()


@pytest.mark.django_db
def test_what_a_job_asked_for_goes_kind_by_kind_and_leaves_receipts():
    asked = {"audio_days": 0, "transcript_days": 7, "payload_days": 3}
    job, other = end_job(make_tenant(), retention=asked), end_job(make_tenant())
    first = Job.objects.get(pk=job.pk)
    assert first.content_due_at == START
    seen = []

    for days in (0, 2.9, 3.1, 6.9, 7.1, 9999):
        sweep(days)
        seen.append(held(job))

    assert seen == [
        *[holds("transcript", "payload", "job")] * 2,
        *[holds("transcript", "job")] * 2,
        *[holds("job")] * 2,
    ]
    assert held(other) == holds("audio", "transcript", "payload", "job")
    # What a commit leaves to be done, the sweep does: here there is no commit.
    stored_objects.purge_left_over()
    assert not default_storage.exists(first.upload)
    assert not SearchEntry.objects.filter(pk=job.pk).exists()
    receipts = Event.objects.filter(job=job, type="job.content_erased").order_by("pk")
    told = [(it.actor, it.created_at, it.data) for it in receipts]
    nothing = {"webhook_bodies": 0, "webhook_responses": 0, "webhooks_discarded": 0}
    assert [(actor, (at - START) / DAY) for actor, at, _ in told] == [
        ("platform", 0),
        ("platform", 3.1),
        ("platform", 7.1),
    ]
    assert [data for _, _, data in told] == [
        {"content": ["audio"], "erased": {"audio": 1, "audio_urls": 0}},
        {"content": ["payload"], "erased": {**nothing, "webhook_bodies": 1}},
        {
            "content": ["transcript"],
            "erased": {
                **nothing,
                "transcripts": 1,
                "raw_documents": 1,
                "idempotency_answers": 0,
            },
        },
    ]
    row = Job.objects.get(pk=job.pk)
    assert (row.filename, row.sha256, row.content_due_at) == ("a.wav", "", None)


@pytest.mark.django_db
def test_a_tenants_days_hold_for_jobs_that_ended_before_and_nobody_elses(capsys):
    tenant, other = make_tenant(retention_days=30), make_tenant()
    job, foreign = end_job(tenant), end_job(other)
    sooner = end_job(tenant, retention={"audio_days": 2})
    running = make_job(tenant, status="processing")
    call_command("tenants", "set", tenant.name, "--audio-days", "5")
    call_command("tenants", "set", tenant.name, "--transcript-days", "10")
    with pytest.raises(CommandError, match="3650"):
        call_command("tenants", "set", tenant.name, "--payload-days", "3651")
    seen = []

    for days in (1.9, 2.1, 5.1, 10.1, 30.1):
        sweep(days)
        seen.append((held(job), held(sooner)["audio"]))

    everything = holds("audio", "transcript", "payload", "job")
    assert seen == [
        (everything, True),
        (everything, False),
        (holds("transcript", "payload", "job"), False),
        (holds("job"), False),
        (holds(), False),
    ]
    assert held(foreign) == everything
    assert held(running)["job"]
    assert Event.objects.filter(type="tenant.changed").count() == 2
    call_command("tenants", "set", tenant.name, "--audio-days", "none")
    tenant.refresh_from_db()
    assert tenant.audio_days is None


@pytest.mark.django_db
def test_the_api_takes_shows_and_bounds_it(client):
    tenant = make_tenant(audio_days=0, transcript_days=30)
    headers = {"Authorization": f"Bearer {make_key(tenant)[1]}"}

    def submit(**days: object) -> Any:
        body = {"audio_url": "https://audio.example.com/a.wav", "retention": days}
        return client.post(
            "/v1/jobs", body, content_type="application/json", headers=headers
        )

    shown = submit(transcript_days=30).json()["retention"]
    assert shown == {
        "audio_days": 0,
        "transcript_days": 30,
        "payload_days": None,
        "erased": [],
    }
    for days, code, pointer in (
        ({"transcript_days": 31}, "retention_too_long", "/retention/transcript_days"),
        ({"audio_days": 1}, "retention_too_long", "/retention/audio_days"),
        ({"transcript_days": 0}, "field_invalid", "/retention/transcript_days"),
        ({"audio_days": -1}, "field_invalid", "/retention/audio_days"),
        ({"payload_days": True}, "field_invalid", "/retention/payload_days"),
        ({"years": 1}, "field_unknown", None),
    ):
        answer = submit(**days)
        assert (answer.status_code, answer.json()["code"]) == (400, code), days
        assert pointer in (None, answer.json()["errors"][0]["pointer"])
    assert Job.objects.count() == 1

    job = end_job(tenant, retention={"transcript_days": 1})
    sweep(1.1)
    answer = client.get(f"/v1/jobs/{job.pk}", headers=headers).json()
    assert answer["retention"]["erased"] == ["audio", "transcript"]
    assert (answer["result_url"], answer["audio"]["filename"]) == (None, "a.wav")
    gone = client.get(f"/v1/transcripts/{job.pk}", headers=headers)
    again = client.post(
        f"/v1/jobs/{job.pk}/retry", content_type="application/json", headers=headers
    )
    assert (gone.status_code, again.status_code) == (410, 410)
    assert Job.objects.count() == 2


@pytest.mark.django_db
def test_a_retry_keeps_shared_audio_and_no_more_days_than_are_allowed_now():
    tenant = make_tenant()
    job = end_job(tenant, retention={"audio_days": 9, "payload_days": 9})
    tenant.payload_days = 4
    tenant.save()

    again = services.retry_job(job=Job.objects.get(pk=job.pk), api_key=None, now=START)
    assert again.retention == {"audio_days": 9, "payload_days": 4}

    sweep(9.1)

    assert held(job)["audio"] is False
    stored_objects.purge_left_over()
    assert default_storage.exists(again.upload)


@pytest.mark.django_db
def test_a_job_erased_as_a_whole_is_left_alone_and_slices_are_bounded(monkeypatch):
    monkeypatch.setattr(retention, "_SLICE", 2)
    tenant = make_tenant(audio_days=1)
    jobs = [end_job(tenant) for _ in range(5)]
    own = end_job(make_tenant(), retention={"audio_days": 0})
    erasure.erase_job(job=own, actor="me", now=START)
    later = START + 2 * DAY

    assert retention.erase_own_due(limit=10, now=later) == 0
    assert retention.erase_of_tenants(limit=3, now=later) == 3
    assert sum(held(job)["audio"] for job in jobs) == 2
    assert retention.erase_of_tenants(limit=10, now=later) == 2
    assert retention.erase_of_tenants(limit=10, now=later) == 0
    assert not Event.objects.filter(job=own, type="job.content_erased").exists()


KILLED = """
import os, signal, sys
from datetime import datetime
import django
django.setup()
from jobs.accounts import audit; from jobs.retention import retention
record, told = audit.record, []
def die_at_the_third(**facts):
    told.append(record(**facts))
    if len(told) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
audit.record = die_at_the_third
retention.erase_own_due(limit=100, now=datetime.fromisoformat(sys.argv[1]))
"""


@pytest.mark.django_db(transaction=True)
def test_a_process_killed_between_slices_leaves_whole_jobs_and_the_next_goes_on(
    settings,
):
    jobs = [end_job(make_tenant(), retention={"audio_days": 0}) for _ in range(5)]
    server = connection.settings_dict
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**server)
    done = run_python(
        ["-c", KILLED, START.isoformat()],
        environment={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "transcribe_platform.settings",
            "DATABASE_URL": url,
            "MEDIA_ROOT": str(settings.MEDIA_ROOT),
        },
    )
    assert done.returncode == -signal.SIGKILL, done.stderr

    told = Event.objects.filter(type="job.content_erased").count()
    gone = [not Job.objects.get(pk=job.pk).upload for job in jobs]
    assert (told, sum(gone)) == (2, 2)

    assert retention.erase_own_due(limit=100, now=START) == 3
    assert Event.objects.filter(type="job.content_erased").count() == 5
