"""Retention by a moved clock, and a process killed between commit and deletion."""

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import connection

from jobs.models import Event, Job, ObjectToErase
from jobs.retention import erasure, stored_objects
from tests.support.factories import make_job, make_tenant, make_transcript
from tests.support.python_process import run_python
from transcribe_platform.celery import app
from transcripts.models import Transcript
from workers.queue import storage_sweep, tasks

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def erased(*jobs: Job) -> list[bool]:
    rows = dict(Job.objects.values_list("pk", "erased_at"))
    return [rows[job.pk] is not None for job in jobs]


@pytest.mark.django_db
def test_beat_erases_what_a_tenants_retention_has_run_out_for(settings):
    settings.RETENTION_DAYS = 30
    tenants = [make_tenant(retention_days=days) for days in (None, 7, 0)]
    with time_machine.travel(START, tick=False):
        standard, short, never = (make_job(t, status="completed") for t in tenants)
        running = make_job(tenants[1], status="processing")
    make_transcript(short, b"{}")
    jobs = (standard, short, never, running)
    seen = []

    for days in (6.99, 7.01, 29.99, 30.01, 9999):
        with time_machine.travel(START + days * DAY, tick=False):
            app.tasks["workers.retention"]()
        seen.append(erased(*jobs))

    assert seen == [
        [False, False, False, False],
        [False, True, False, False],
        [False, True, False, False],
        [True, True, False, False],
        [True, True, False, False],
    ]
    assert not Transcript.objects.exists()
    events = Event.objects.filter(type="job.erased")
    assert {event.actor for event in events} == {"platform"}
    assert "retention" in app.conf.beat_schedule


@pytest.mark.django_db
def test_without_any_retention_everything_stays():
    with time_machine.travel(START, tick=False):
        job = make_job(status="failed")

    tasks.retention()

    assert django_settings.RETENTION_DAYS == 0
    assert erased(job) == [False]


@pytest.mark.django_db
def test_a_run_is_bounded_and_tenants_take_turns(monkeypatch):
    monkeypatch.setattr(erasure, "_SLICE", 2)
    many, few = make_tenant(retention_days=1), make_tenant(retention_days=1)
    with time_machine.travel(START, tick=False):
        backlog = [make_job(many, status="canceled") for _ in range(7)]
        single = make_job(few, status="canceled")
    later = START + 2 * DAY

    assert erasure.erase_expired(limit=4, now=later) == 4

    assert erased(single) == [True]
    assert sum(erased(*backlog)) == 3
    assert erasure.erase_expired(limit=100, now=later) == 4
    assert erasure.erase_expired(limit=100, now=later) == 0


@pytest.mark.django_db
def test_an_operator_sets_a_tenants_retention(capsys):
    tenant = make_tenant()

    call_command("tenants", "set", tenant.name, "--retention-days", "14")

    tenant.refresh_from_db()
    assert tenant.retention_days == 14


KILLED = """
import os, signal, sys
import django
django.setup()
from django.core.files.storage import default_storage
from django.utils import timezone
from jobs.retention import erasure
from jobs.models import Job
kill = lambda _name: os.kill(os.getpid(), signal.SIGKILL)
default_storage.delete = kill
erasure.erase_job(job=Job.objects.get(pk=sys.argv[1]), actor="me", now=timezone.now())
"""


def erase_and_be_killed(job: Job) -> None:
    """Erase a job in a process that dies at the first object it would delete."""
    server = connection.settings_dict
    url = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**server)
    done = run_python(
        ["-c", KILLED, str(job.pk)],
        environment={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "transcribe_platform.settings",
            "DATABASE_URL": url,
            "MEDIA_ROOT": str(django_settings.MEDIA_ROOT),
        },
    )
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def job(db: None, tmp_path: Path, settings) -> Job:
    settings.MEDIA_ROOT = tmp_path
    job = make_job(status="completed")
    kept = default_storage.save(f"audio/{job.tenant_id}/1/a.wav", ContentFile(b"x"))
    Job.objects.filter(pk=job.pk).update(audio_url="", upload=kept)
    make_transcript(job, b"{}")
    return Job.objects.get(pk=job.pk)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("record_is_lost", [False, True])
def test_a_kill_between_commit_and_deletion_loses_nothing(job, record_is_lost):
    raw = job.transcript.raw
    erase_and_be_killed(job)
    assert erased(job) == [True]
    assert [default_storage.exists(name) for name in (job.upload, raw)] == [True, True]
    assert ObjectToErase.objects.count() == 2
    older_than = datetime.now(UTC) - DAY
    if record_is_lost:  # then they are objects without a row, which go after a day
        ObjectToErase.objects.all().delete()
        storage_sweep.sweep(older_than=older_than)
        assert default_storage.exists(raw)
        older_than = datetime.now(UTC) + DAY

    storage_sweep.sweep(older_than=older_than)

    assert [default_storage.exists(name) for name in (job.upload, raw)] == [
        False,
        False,
    ]
    assert not ObjectToErase.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_object_that_cannot_be_deleted_does_not_hold_up_the_others(
    job, monkeypatch, caplog
):
    erase_and_be_killed(job)
    real = default_storage.delete

    def delete(name: str) -> None:
        if name == job.upload:
            raise OSError("read only")
        real(name)

    monkeypatch.setattr(default_storage, "delete", delete)

    assert stored_objects.purge_left_over() == 1

    assert [each.name for each in ObjectToErase.objects.all()] == [job.upload]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
