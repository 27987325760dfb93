import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from psycopg_pool import PoolTimeout

from jobs.models import Job, Worker
from jobs.scheduling import dispatch
from workers.liveness.heartbeat import Heartbeat, leave_pool
from workers.queue import dispatcher


@pytest.fixture
def full_pool(transactional_db: None) -> Iterator[None]:
    """Take every connection of the pool that can be had."""
    connection.ensure_connection()
    pool, taken = connection.pool, []
    with suppress(PoolTimeout):
        while len(taken) < pool.max_size:
            taken.append(pool.getconn(timeout=0.5))
    yield
    for each in taken:
        pool.putconn(each)


def test_leases_are_renewed_while_the_pool_has_no_connection_left(engine, full_pool):
    job = engine.submit()
    engine.tick()
    Job.objects.update(worker="w", lease_until=timezone.now())
    heartbeat = Heartbeat(queues=["transcribe.local"], slots=1, permits=engine.permits)
    heartbeat.name = "w"
    job.refresh_from_db()

    def beat_once() -> None:
        leave_pool()
        heartbeat.beat()
        connection.close()

    began = timezone.now()
    heartbeat.add([job])
    with ThreadPoolExecutor(1) as thread:
        thread.submit(beat_once).result()

    job.refresh_from_db()
    assert job.lease_until > began
    assert Worker.objects.get(name="w").busy == 1


def test_claims_are_renewed_while_their_stored_results_are_looked_up(engine):
    job = engine.submit()
    engine.tick()
    Job.objects.update(worker="w", lease_until=timezone.now())
    job.refresh_from_db()
    heartbeat = Heartbeat(queues=["transcribe.local"], slots=1, permits=engine.permits)
    heartbeat.name = "w"

    began = timezone.now()
    with heartbeat.holding([job]):
        heartbeat.beat()

    job.refresh_from_db()
    assert job.lease_until > began
    assert engine.permits_held() == 1
    Job.objects.update(lease_until=began)
    heartbeat.beat()
    assert Job.objects.get().lease_until == began


def test_a_lease_long_grace_begins_when_the_database_is_back(db, monkeypatch):
    stop = threading.Event()
    asked: list[object] = []
    back_at: list[object] = []

    def tick(*, up_since: object, **_options: object) -> dispatch.TickResult:
        asked.append(up_since)
        if len(asked) == 1:
            raise OperationalError("the database is going away")
        stop.set()
        return dispatch.TickResult()

    def ensure_connection() -> None:
        """Wait for the database, the second time, as the pool does."""
        if asked:
            time.sleep(0.05)
            back_at.append(timezone.now())

    monkeypatch.setattr(dispatch, "tick", tick)
    monkeypatch.setattr(dispatcher.webhook_dispatch, "tick", lambda **_options: [])
    monkeypatch.setattr(dispatcher.connection, "ensure_connection", ensure_connection)
    monkeypatch.setattr(dispatcher.connection, "close", lambda: None)

    dispatcher.run(stop=stop)

    assert asked[0] < back_at[0] <= asked[1]
