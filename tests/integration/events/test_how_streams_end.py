"""How event streams end, and what they outlive."""

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection

from jobs.api import event_stream
from jobs.api.event_stream import EventFilters
from jobs.models import ApiKey, Tenant
from tests.support.asgi_process import AsgiProcess
from tests.support.database import admin_connection
from tests.support.event_client import EventClient
from tests.support.factories import make_job, make_key, make_tenant
from workers.api.events import hub, listener, stream
from workers.api.events.slots import StreamSlots
from workers.api.events.stream import EventStreamBody, StreamStart

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.xdist_group("events")


@pytest.fixture
def tenant(transactional_db):
    return make_tenant()


@pytest.fixture
def key(tenant):
    return make_key(tenant)[0]


def open_now(tenant, key, **more):
    return StreamStart(
        filters=EventFilters(tenant_id=tenant.pk),
        after=event_stream.read_horizon(),
        key_id=key.pk,
        address=None,
        **more,
    )


async def beside(act, *args):
    """Do something in a thread that keeps no connection."""

    def run():
        try:
            act(*args)
        finally:
            connection.close()

    await sync_to_async(run)()


async def submit(tenant, number=1):
    for _ in range(number):
        await beside(make_job, tenant)


def events_in(part):
    return part.count(b"event: job.queued\n")


async def follow_and(opening, act):
    """Return the parts of a stream after something was done to it."""
    parts = []
    async with asyncio.timeout(15), aclosing(stream.follow(opening)) as coming:
        parts.append(await anext(coming))
        acting = asyncio.create_task(act())
        parts += [part async for part in coming]
        await acting
    return parts


def test_a_slow_client_is_told_and_goes_on_where_it_was(tenant, key, monkeypatch):
    monkeypatch.setattr(listener, "MAX_QUEUED", 3)
    opening = open_now(tenant, key)

    async def slow():
        async with aclosing(stream.follow(opening)) as coming:
            await anext(coming)
            waiting = asyncio.ensure_future(anext(coming))
            await asyncio.sleep(0.3)  # it has been covered by a look
            await submit(tenant)
            first = await waiting
            await submit(tenant, 5)  # nothing is taken meanwhile
            await asyncio.sleep(0.5)
            return first, [part async for part in coming]

    first, rest = asyncio.run(slow())

    assert events_in(first) == 1
    assert events_in(b"".join(rest)) == 3
    assert rest[-2:] == [
        b'event: overflow\ndata: {"reason":"slow"}\n\n',
        b": client too slow, reconnect with Last-Event-ID\n\n",
    ]
    told = event_stream.read_page(
        tenants={tenant.pk}, after=opening.after, limit=9
    ).events
    last = [row for row in rest[0].split(b"\n") if row.startswith(b"id: ")][-1]
    assert last == f"id: {told[3].position}".encode()


def test_a_socket_that_takes_nothing_is_given_up(tenant, key, monkeypatch):
    monkeypatch.setattr(listener, "MAX_QUEUED", 1)
    monkeypatch.setattr(listener, "DRAIN_SECONDS", 0.2)
    slots = StreamSlots()
    body = EventStreamBody(open_now(tenant, key), slots.acquire(tenant.pk))

    async def blocked():
        async for part in body:
            if events_in(part):
                await asyncio.Event().wait()

    async def run():
        task = asyncio.create_task(blocked())
        await asyncio.sleep(0.3)
        await submit(tenant, 4)
        await asyncio.wait([task], timeout=10)
        return task.cancelled()

    assert asyncio.run(run())
    assert len(slots) == 0


def test_a_stream_ends_when_its_time_is_up(tenant, key, settings):
    settings.EVENT_STREAM_SECONDS = 0.4

    async def nothing():
        pass

    began = time.monotonic()
    parts = asyncio.run(follow_and(open_now(tenant, key), nothing))

    assert parts[-1] == b": maximum duration reached, reconnect with Last-Event-ID\n\n"
    assert time.monotonic() - began < 5


def change_key(**fields):
    return lambda key: ApiKey.objects.filter(pk=key.pk).update(**fields)


def close_account(key):
    Tenant.objects.filter(pk=key.tenant_id).update(is_active=False)


@pytest.mark.parametrize(
    ("take_away", "ends_others"),
    [
        (change_key(revoked_at=LONG_AGO), False),
        (change_key(expires_at=LONG_AGO), False),
        (change_key(scopes=["jobs:write"]), False),
        (change_key(allowed_ips=["192.0.2.1"]), False),
        (close_account, True),
    ],
    ids=["revoked", "expired", "scope taken", "bound to an address", "tenant off"],
)
def test_a_key_that_may_not_any_more_ends_its_stream(
    tenant, key, monkeypatch, settings, take_away, ends_others
):
    monkeypatch.setattr(hub, "KEYS_SECONDS", 0.1)
    other = make_key(tenant)[0]

    async def act():
        await asyncio.sleep(0.3)
        await beside(take_away, key)

    opening, others = open_now(tenant, key), open_now(tenant, other)
    settings.EVENT_STREAM_SECONDS = 1.5

    async def nothing():
        pass

    async def both():
        return await asyncio.gather(
            follow_and(opening, act), follow_and(others, nothing)
        )

    parts, kept = asyncio.run(both())

    assert parts[-1] == b": API key no longer valid\n\n"
    if ends_others:
        assert kept[-1] == parts[-1]
    else:
        assert kept[-1].startswith(b": maximum duration reached")


def test_who_is_cut_before_the_first_byte_gives_its_place_back(tenant, key):
    slots = StreamSlots()
    body = EventStreamBody(open_now(tenant, key), slots.acquire(tenant.pk))
    assert len(slots) == 1

    del body

    assert len(slots) == 0


def test_a_place_that_nobody_begins_to_use_is_given_to_another(tenant, monkeypatch):
    slots = StreamSlots()
    late, begun = slots.acquire(tenant.pk), slots.acquire(tenant.pk)
    assert begun.start()
    monkeypatch.setattr("workers.api.events.slots.START_SECONDS", -1)

    slots.acquire(tenant.pk)

    assert len(slots) == 2
    assert not late.start()


def test_a_place_is_given_back_once(tenant):
    slots = StreamSlots()
    slot, other = slots.acquire(tenant.pk), slots.acquire(tenant.pk)

    slot.release()
    slot.release()

    assert len(slots) == 1
    other.release()
    assert len(slots) == 0


def test_a_database_that_fails_a_look_costs_no_event(tenant, key, monkeypatch, caplog):
    read_page, failing = event_stream.read_page, iter([False, True, True])

    def sometimes(**given):
        if next(failing, False):
            raise OperationalError
        return read_page(**given)

    monkeypatch.setattr(event_stream, "read_page", sometimes)
    opening = open_now(tenant, key)

    async def run():
        async with asyncio.timeout(15), aclosing(stream.follow(opening)) as coming:
            await anext(coming)
            waiting = asyncio.ensure_future(anext(coming))
            await asyncio.sleep(0.2)
            await submit(tenant)
            return await waiting

    assert events_in(asyncio.run(run())) == 1
    assert "database unavailable, events delayed" in caplog.text


def test_streams_outlive_a_database_that_lets_nobody_in_for_a_moment(me):
    name = connection.settings_dict["NAME"]
    with me.follow() as live, admin_connection() as admin:
        live.begin()
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name = %s",
                [name, me.door.name],
            )
            time.sleep(1)
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        make_job(me.tenant)
        (told,) = live.next()

    assert told.type == "job.queued"
    assert '"database unavailable, events delayed"' in me.door.log.read_text()


def test_sigterm_ends_the_streams_and_the_process(transactional_db, tmp_path):
    door = AsgiProcess(tmp_path)
    them = EventClient(door)
    try:
        door.wait()
        streams = [them.follow() for _ in range(3)]
        for each in streams:
            each.begin()
        make_job(them.tenant)
        assert [each.next()[0].type for each in streams] == ["job.queued"] * 3
        began = time.monotonic()
        assert door.stop() == 0
        took = time.monotonic() - began
        last = [list(each.blocks())[-1].comment for each in streams]
    finally:
        door.process.kill()
        for each in them.opened:
            each.close()

    assert took < 5
    assert last == ["server shutting down, reconnect with Last-Event-ID"] * 3
