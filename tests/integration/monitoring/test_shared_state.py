"""The gauges of what all processes share, off real rows and a real Redis."""

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from jobs.models import Event, Job, Worker
from jobs.scheduling.claims import Permit, PermitKind
from tests.support.factories import make_job, make_region, make_tenant
from workers.monitoring import backlog, shared
from workers.ratelimit.permits import get_permits
from workers.webhooks.models import WebhookDelivery


@pytest.fixture(autouse=True)
def fresh(db):
    get_permits()._client.flushdb()
    yield
    get_permits()._client.flushdb()


def read():
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in shared.read_families()
        for sample in family.samples
    }


def test_the_queue_is_counted_in_jobs_seconds_and_age():
    for seconds in (60, 120):
        Job.objects.filter(pk=make_job().pk).update(
            duration_seconds=seconds, created_at=timezone.now() - timedelta(minutes=5)
        )
    Job.objects.filter(pk=make_job().pk).update(ready=False)

    values = read()

    assert values["transcription_queue_depth",] == 2
    assert values["transcription_queue_audio_seconds",] == 180
    assert values["transcription_queue_later",] == 1
    assert 300 <= values["transcription_queue_oldest_seconds",] < 310


def test_regions_tell_their_permits_breaker_and_state():
    make_region("eu", max_concurrent=2, max_per_minute=10)
    make_region("us", is_drained=True)
    permits = get_permits()
    permits.renew("eu", [Permit(member="1:1", kind=PermitKind.PRERECORDED)])
    for _ in range(10):
        permits.breaker.record("eu", well=False)

    values = read()

    assert values["deepgram_permits_in_use", "eu", "prerecorded"] == 1
    assert values["deepgram_permits_limit", "eu", "prerecorded"] == 2
    assert values["deepgram_permits_limit", "eu", "minute"] == 10
    assert values["deepgram_breaker_state", "eu", "open"] == 1
    assert values["deepgram_breaker_state", "closed", "eu"] == 0
    assert values["transcription_region_state", "breaker open", "eu"] == 1
    assert values["transcription_region_state", "drained", "us"] == 1
    assert values["transcription_redis_up", "eu"] == 1


def test_a_queue_that_nobody_takes_from_says_so():
    make_region("eu")
    now = timezone.now()
    queues = ["webhooks", "housekeeping"]
    Worker.objects.create(name="a", queues=queues, slots=4, busy=3, seen_at=now)
    silent = now - timedelta(minutes=1)
    Worker.objects.create(
        name="b", queues=["transcribe.eu"], slots=4, busy=3, seen_at=silent
    )

    values = read()

    assert values["transcription_workers", "transcribe.eu"] == 0
    assert values["transcription_workers", "webhooks"] == 1
    assert values["transcription_worker_slots", "housekeeping"] == 4
    assert values["transcription_worker_slots_busy", "webhooks"] == 3


def test_deliveries_that_are_due_or_held_are_counted():
    job, now = make_job(), timezone.now()
    for number, (due_in, is_held) in enumerate([(-60, False), (60, False), (-9, True)]):
        WebhookDelivery.objects.create(
            tenant=job.tenant,
            event=Event.objects.create(
                tenant=job.tenant, job=job, type="job.completed", created_at=now
            ),
            url="https://cb.example.com/",
            target=f"x{number}",
            created_at=now,
            next_attempt_at=now + timedelta(seconds=due_in),
            is_held=is_held,
        )

    values = read()

    assert values["transcription_webhook_queue_depth",] == 1
    assert values["transcription_webhook_held",] == 1
    assert 60 <= values["transcription_webhook_oldest_due_seconds",] < 70


def told(state):
    return {family.name: family.samples for family in state.collect()}


def test_a_database_that_is_away_is_told_and_read_again_later(monkeypatch):
    def fail():
        raise OperationalError

    state = shared.SharedState()
    monkeypatch.setattr(shared, "CACHE_SECONDS", 0)
    monkeypatch.setattr(shared, "read_families", fail)
    away = told(state)
    monkeypatch.setattr(shared, "read_families", list)
    back = told(state)

    (was,), (is_now,) = (each["transcription_database_up"] for each in (away, back))
    assert (was.value, is_now.value) == (0, 1)
    assert set(away) == {"transcription_database_up"}


def test_one_that_hangs_hangs_nobody_and_is_asked_once(monkeypatch):
    go_on, asked = threading.Event(), []

    def hang():
        asked.append(1)
        go_on.wait(10)
        return []

    state = shared.SharedState()
    monkeypatch.setattr(shared, "READ_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(shared, "CACHE_SECONDS", 0)
    monkeypatch.setattr(shared, "read_families", hang)
    try:
        (first,) = told(state)["transcription_database_up"]
        (second,) = told(state)["transcription_database_up"]
    finally:
        go_on.set()

    assert (first.value, second.value, len(asked)) == (0, 0, 1)


def test_what_cannot_run_on_purpose_does_not_wait_and_needs_no_worker():
    make_region("eu", is_drained=True)
    make_region("us")
    paused = make_tenant(is_paused=True)
    running, closed, held, late = make_job(), make_job(), make_job(paused), make_job()
    long_ago = timezone.now() - timedelta(hours=2)
    Job.objects.update(created_at=long_ago)
    Job.objects.filter(pk=closed.pk).update(lane="eu")
    Job.objects.filter(pk=held.pk).update(lane="us")
    Job.objects.filter(pk=late.pk).update(ready=False)
    Job.objects.filter(pk=running.pk).update(created_at=timezone.now())

    values = read()

    assert values["transcription_queue_depth",] == 1
    assert values["transcription_queue_oldest_seconds",] < 60
    assert values["transcription_queue_closed",] == 1
    assert values["transcription_queue_later",] == 1
    assert values["transcription_workers", "transcribe.us"] == 0
    assert ("transcription_workers", "transcribe.eu") not in values


def test_a_sample_counts_only_what_can_run_too(monkeypatch):
    make_job(make_tenant(is_paused=True))
    make_job()
    make_job()
    monkeypatch.setattr(backlog, "MAX_COUNTED", 1)
    with connection.cursor() as cursor:  # other tests have filled the table
        cursor.execute(
            "UPDATE pg_class SET reltuples = 0 WHERE oid = 'jobs_job'::regclass"
        )

    assert backlog.read_backlog().jobs == 2
