"""A worker, the broker or the clock fails at the worst moment: late or twice, never lost.

The worker that is killed is a real process of the real app, stopped where it hurts by a
lock on the table that it needs next.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from signal import Signals

import psycopg
import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone
from psycopg.conninfo import make_conninfo

from jobs.models import Worker as WorkerRow
from jobs.scheduling import dispatch as jobs_dispatch
from tests.support import ROOT
from tests.support.webhook_receiver import Receiver, Reply
from tests.support.webhooks import World, answering, make_due
from transcribe_platform.celery import app
from workers.embedded import processes
from workers.embedded.processes import ProcessCommand
from workers.webhooks.delivery import dispatch, services
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery

Status = WebhookDelivery.Status


def database_url() -> str:
    parameters = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    return make_conninfo(**{name: parameters.get(name) for name in names})


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def worker(transactional_db, broker, tmp_path) -> Iterator["Worker"]:
    started = Worker(tmp_path / "worker.log")
    yield started
    started.kill()


class Worker:
    """One process that consumes the webhooks' queue."""

    def __init__(self, log: Path) -> None:
        command = ProcessCommand(
            argv=(
                *(sys.executable, "-m", "celery", "-A", "transcribe_platform.celery"),
                *("worker", "-P", "threads", "-c", "2", "-Q", "webhooks"),
                *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
            ),
            log=log,
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "EGRESS_ALLOW": "127.0.0.0/8",
                "PGAPPNAME": "doomed",
            },
            cwd=ROOT,
            death_signal=Signals.SIGKILL,
        )
        self.log = log
        self.process = processes.spawn(command)

    def kill(self) -> None:
        processes.kill_group(self.process.pid)
        self.process.wait()

    def waits_for_a_lock(self) -> bool:
        """Return whether one of its statements hangs at a lock that a test holds."""
        return self._count_connections("wait_event_type = 'Lock'") > 0

    def has_left(self) -> bool:
        """Return whether PostgreSQL has noticed that it is dead."""
        return self._count_connections("true") == 0

    def _count_connections(self, condition: str) -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                f" WHERE application_name = 'doomed' AND {condition}"
            )
            return cursor.fetchone()[0]


@contextmanager
def locked(table: str) -> Iterator[None]:
    """Hold a table so that nothing is written to it, nor read where that is worse."""
    mode = {"webhooks_webhooksecret": "ACCESS EXCLUSIVE"}.get(table, "SHARE")
    with psycopg.connect(database_url()) as holder:
        holder.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        yield
        holder.rollback()


def send_one(receiver: Receiver, worker: Worker) -> tuple[World, WebhookDelivery]:
    """Send one message to the worker, by the clock that the worker has too."""
    wait_until(WorkerRow.objects.exists, worker)
    world = World()
    world.now = timezone.now()
    delivery = world.delivery(receiver.url, text="Grüße")
    dispatch.send(dispatch.claim(now=world.now), now=world.now)
    return world, delivery


def assert_sent_by_the_next_worker(
    world: World, delivery: WebhookDelivery, receiver: Receiver, *, sent: int
) -> None:
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.PENDING, 0)
    assert not DeliveryAttempt.objects.exists()
    # A worker that was slow to start has extended it.
    world.now = delivery.next_attempt_at - timedelta(seconds=1)
    assert world.run() == 0
    receiver.replies[:] = [Reply()]
    world.pass_time(1)

    assert world.run() == 1

    assert len(receiver.received) == sent
    assert {each.headers["webhook-id"] for each in receiver.received} == {
        f"msg_{delivery.event_id.hex}"
    }
    assert len({each.body for each in receiver.received}) == 1
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)
    assert DeliveryAttempt.objects.count() == 1


def wait_until(settled, worker: Worker) -> None:
    assert processes.wait_until(settled, seconds=60), processes.log_tail(worker.log)


@pytest.mark.slow
def test_killed_before_it_sends_the_message_is_sent_once(worker, listen):
    receiver = listen()
    with locked("webhooks_webhooksecret"):
        world, delivery = send_one(receiver, worker)
        wait_until(worker.waits_for_a_lock, worker)
        worker.kill()
    wait_until(worker.has_left, worker)

    assert receiver.connections == 0
    assert_sent_by_the_next_worker(world, delivery, receiver, sent=1)


@pytest.mark.slow
def test_killed_after_it_sent_and_before_it_wrote_it_is_sent_again(worker, listen):
    receiver = listen(Reply(delay=60))
    world, delivery = send_one(receiver, worker)
    receiver.wait_for(1, seconds=60)
    worker.kill()
    wait_until(worker.has_left, worker)

    assert_sent_by_the_next_worker(world, delivery, receiver, sent=2)


@pytest.mark.slow
def test_killed_in_the_middle_of_writing_nothing_of_it_stands(worker, listen):
    receiver = listen()
    with locked("webhooks_deliveryattempt"):
        world, delivery = send_one(receiver, worker)
        receiver.wait_for(1, seconds=60)
        # The delivery's own row is written by now, and not committed.
        wait_until(worker.waits_for_a_lock, worker)
        worker.kill()
    wait_until(worker.has_left, worker)

    assert_sent_by_the_next_worker(world, delivery, receiver, sent=2)


@pytest.mark.slow
def test_what_a_killed_process_had_is_due_once_it_is_not_seen(worker, listen):
    receiver = listen(Reply(delay=60), Reply())
    world, delivery = send_one(receiver, worker)
    receiver.wait_for(1, seconds=60)
    worker.kill()
    wait_until(worker.has_left, worker)

    world.now = WorkerRow.objects.get().seen_at + timedelta(seconds=9)
    world.announce()
    assert world.tick() == []
    world.pass_time(2)
    (claim,) = world.tick()
    world.attempt(claim)

    delivery.refresh_from_db()
    # Its own queue is no label of the metrics.
    assert WorkerRow.objects.exclude(name="hooks-1").get().queues == ["webhooks"]
    assert (delivery.status, claim.process, claim.token) == (
        Status.DELIVERED,
        "hooks-1",
        2,
    )
    assert len(receiver.received) == 2


@pytest.mark.slow
def test_a_process_that_stops_ends_what_it_began_and_returns_the_rest(worker, listen):
    receiver = listen(Reply(delay=3))
    world, begun = send_one(receiver, worker)
    receiver.wait_for(1, seconds=60)
    row = WorkerRow.objects.get()
    other = world.delivery(f"{receiver.url}other")
    WebhookDelivery.objects.filter(pk=other.pk).update(
        is_claimed=True, claim_token=1, process=row.name
    )

    os.kill(worker.process.pid, Signals.SIGTERM)
    worker.process.wait(60)

    begun.refresh_from_db()
    other.refresh_from_db()
    assert (begun.status, begun.attempts) == (Status.DELIVERED, 1)
    assert (other.is_claimed, other.process, other.attempts) == (False, "", 0)
    assert not WorkerRow.objects.filter(pk=row.pk).exists()
    assert len(receiver.received) == 1


# --- the broker ---------------------------------------------------------------------


def test_what_a_flushed_broker_had_is_sent_after_the_claim_has_run_out(
    world, broker, listen
):
    receiver = listen()
    delivery = world.delivery(receiver.url)
    dispatch.send(world.claim(), now=world.now)
    assert broker.keys("*process.hooks-1*")

    broker.flushdb()  # not what other test processes have there

    assert world.run() == 0
    world.pass_time(services.claim_time().total_seconds())
    assert world.run() == 1
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (Status.DELIVERED, 1)
    assert len(receiver.received) == 1


def test_with_redis_down_when_a_job_ends_its_webhook_goes_out_later(
    world, listen, monkeypatch
):
    receiver = listen()
    world.endpoint(receiver.url)
    world.announce()
    away = app.connection_for_write("redis://127.0.0.1:1/0")
    publish = jobs_dispatch.publish

    def publish_nowhere(*arguments, **options) -> None:
        publish(*arguments, **{**options, "connection": away})

    monkeypatch.setattr(jobs_dispatch, "publish", publish_nowhere)
    world.event()  # written with the job's end, in one transaction
    (claim,) = world.tick()

    delivery = WebhookDelivery.objects.get()
    assert (delivery.status, delivery.is_claimed) == (Status.PENDING, False)
    assert delivery.attempts == 0
    world.pass_time(dispatch.RELEASE_DELAY_SECONDS)
    assert world.attempt(claim) is None
    assert world.run() == 1
    assert len(receiver.received) == 1


# --- the clock ----------------------------------------------------------------------


def test_a_clock_that_jumps_back_sends_nothing_twice_and_loses_nothing(world, listen):
    receiver = listen(Reply(status=500), Reply())
    delivery = world.delivery(receiver.url)
    (claim,) = world.claim()
    world.pass_time(-3600)
    assert world.claim() == []

    world.attempt(claim)

    delivery.refresh_from_db()
    assert delivery.attempts == 1
    assert world.run() == 0
    world.pass_time(5)
    assert world.run() == 1
    assert len(receiver.received) == 2
    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED


def test_nothing_of_an_hour_without_beat_is_missed(world, listen):
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert not any(name.startswith("webhooks.") for name in scheduled)
    receiver = listen(Reply(status=500), Reply(status=500), Reply())
    delivery = world.delivery(receiver.url)

    for _ in range(3600 // 60):
        world.run()
        world.pass_time(60)

    delivery.refresh_from_db()
    assert delivery.status == Status.DELIVERED
    assert len(receiver.received) == 3


def test_after_an_hour_without_a_dispatcher_all_that_is_overdue_goes(world):
    make_due(world, 5)
    world.event()
    world.pass_time(3600)
    world.announce()
    world.fan_out()

    for claim in world.claim():
        world.attempt(claim, post=answering(200))

    assert set(WebhookDelivery.objects.values_list("status", "attempts")) == {
        (Status.DELIVERED, 1)
    }
    assert WebhookDelivery.objects.count() == 6


# --- ten thousand -------------------------------------------------------------------


def test_ten_thousand_due_at_once_go_once_each_and_within_the_shares(world):
    endpoints = [make_due(world, 900, max_concurrent=50) for _ in range(10)]
    endpoints += [make_due(world, 10, max_concurrent=1) for _ in range(100)]
    world.announce(slots=800)
    sent: set[object] = set()
    most = 0
    rounds = 0
    while claims := dispatch.claim(now=world.now):
        rounds += 1
        ids = [claim.delivery_id for claim in claims]
        assert sent.isdisjoint(ids)
        sent.update(ids)
        rows = WebhookDelivery.objects.filter(pk__in=ids)
        in_hand = {}
        for endpoint_id in rows.values_list("endpoint_id", flat=True):
            in_hand[endpoint_id] = in_hand.get(endpoint_id, 0) + 1
        most = max(most, *in_hand.values())
        if rounds == 2:
            # Nobody waits for the ten that have most of it.
            small = {each.pk for each in endpoints[10:]}
            reached = WebhookDelivery.objects.filter(claim_token__gt=0)
            assert small <= set(reached.values_list("endpoint_id", flat=True))
        rows.update(
            status=Status.DELIVERED,
            finished_at=world.now,
            next_attempt_at=None,
            is_claimed=False,
        )

    assert len(sent) == 10_000
    assert most == 50
    assert rounds <= 900 / 50 + 5
