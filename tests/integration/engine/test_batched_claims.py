"""One message per process and tick; older processes get one per claim."""

import threading
import time
from unittest import mock

import pytest
from django.utils import timezone
from redis.exceptions import OutOfMemoryError

from jobs import services
from jobs.models import Attempt, Job, Worker
from jobs.scheduling import dispatch, leases
from jobs.scheduling.process_queues import queue_of_process
from tests.support.engine import LONG_AGO
from tests.support.fake_backend import FakeBackend
from workers.queue import dispatcher, tasks


@pytest.fixture
def sent(engine):
    """The messages of a tick."""
    messages = []

    def send_task(_name, **message):
        messages.append(message)

    with mock.patch.object(dispatch, "_celery") as celery:
        celery.return_value.send_task = send_task
        yield messages


def submit_many(engine, number: int) -> list[Job]:
    engine.region.max_concurrent = 100
    engine.region.save()
    return [engine.submit() for _ in range(number)]


def test_each_process_gets_one_message_with_its_claims(engine, sent):
    engine.announce(slots=3, accepts_batches=True)
    engine.announce(slots=2, name="worker-2", accepts_batches=True)
    submit_many(engine, 7)

    engine.tick()

    by_queue = {each["queue"].name: each["kwargs"]["claims"] for each in sent}
    assert {name: len(claims) for name, claims in by_queue.items()} == {
        queue_of_process("worker-1"): 3,
        queue_of_process("worker-2"): 2,
    }
    for name, claims in by_queue.items():
        for job_id, token, _ in claims:
            job = Job.objects.get(pk=job_id)
            assert (queue_of_process(job.worker), job.lease_token) == (name, token)
    engine.tick()
    assert len(sent) == 2  # no free slots


def test_a_process_of_an_older_version_gets_todays_messages(engine, sent):
    engine.announce(slots=1, accepts_batches=True)
    engine.announce(slots=2, name="old")
    submit_many(engine, 5)

    engine.tick()

    singles = [each["kwargs"] for each in sent if "job_id" in each["kwargs"]]
    assert len(sent) == 3
    assert len(singles) == 2
    assert all(
        each["queue"] == "transcribe.local"
        for each in sent
        if "job_id" in each["kwargs"]
    )
    assert Job.objects.filter(status="processing", worker="").count() == 2


@pytest.mark.parametrize("is_old", [True, False])
def test_a_worker_takes_messages_of_both_versions(
    engine, monkeypatch, settings, is_old
):
    settings.TASK_EVENTS = True
    engine.announce(slots=5, accepts_batches=not is_old)
    jobs = submit_many(engine, 1)
    engine.tick()
    job = Job.objects.get(pk=jobs[0].pk)
    backend = FakeBackend()
    monkeypatch.setattr(tasks, "_heartbeats", [engine])
    monkeypatch.setattr(tasks, "_threads", lambda: None)
    monkeypatch.setattr(tasks, "get_backend", lambda: backend)
    message = {"job_id": str(job.pk), "lease_token": 1, "traceparent": ""}
    if not is_old:
        message = {"claims": [[str(job.pk), 1, ""]]}

    outcome = tasks.transcribe(region="local", **message)
    repeated = tasks.transcribe(region="local", **message)

    job.refresh_from_db()
    assert (job.status, outcome, repeated) == ("completed", "ok r-1", "stale")
    assert len(backend.requests) == 1


def test_claims_of_a_process_that_left_return_whatever_is_free_elsewhere(engine, sent):
    engine.announce(slots=3, accepts_batches=True)
    submit_many(engine, 3)
    engine.tick()
    wait_longer_than(leases.pending_work.RECALL_AFTER)
    Worker.objects.filter(name="worker-1").delete()
    engine.announce(slots=50, name="worker-2", accepts_batches=True)

    engine.tick()

    assert set(Job.objects.values_list("status", "worker")) == {
        ("processing", "worker-2")
    }
    assert not Attempt.objects.exists()


def test_claims_whose_message_was_lost_return_from_a_living_process(
    engine, sent, settings
):
    settings.LEASE_SECONDS = 30
    engine.announce(slots=20, accepts_batches=True)
    jobs = submit_many(engine, 20)
    engine.tick()
    wait_longer_than(leases.pending_work.RECALL_AFTER)
    assert leases.recall_unstarted_claims(now=timezone.now()) == []
    wait_longer_than(leases.MESSAGE_LOST_SHARE * services.lease_time())

    engine.tick()

    tokens = set(Job.objects.values_list("lease_token", flat=True))
    assert tokens == {2}
    assert len(jobs) == 20
    assert not Attempt.objects.exists()


def test_unsent_claims_of_a_newer_token_are_left_alone(engine, sent):
    engine.announce(slots=5, accepts_batches=True)
    (job,) = submit_many(engine, 1)
    (claimed,) = engine.tick().claimed
    Job.objects.update(lease_token=2)

    dispatch.requeue_unsent([claimed], permits=engine.permits, now=timezone.now())

    job.refresh_from_db()
    assert job.status == "processing"


def wait_longer_than(seconds) -> None:
    """Move the claims into the past by this time."""
    claimed_at = timezone.now() - seconds * 1.1
    Job.objects.filter(status="processing").update(
        lease_until=claimed_at + services.lease_time()
    )


def test_a_broker_that_refuses_messages_is_left_alone_for_a_while(engine, monkeypatch):
    engine.announce(slots=5, accepts_batches=True)
    submit_many(engine, 1)
    sends = []

    def refuse(_name, **_message):
        sends.append(1)
        raise OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'")

    monkeypatch.setattr(dispatcher.webhook_dispatch, "tick", lambda **_options: [])
    loop, stop = dispatcher.TickLoop(None), threading.Event()
    loop._connected_since = LONG_AGO
    with mock.patch.object(dispatch, "_celery") as celery:
        celery.return_value.send_task = refuse
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            loop.run_once(stop)

    assert len(sends) <= 3  # at 0, 0.5 and, a second later, not yet
    assert Job.objects.get().status == "queued"
    assert Job.objects.get().attempt == 0
