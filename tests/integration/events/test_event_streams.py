"""Event streams from a real ASGI process, read from real sockets."""

import json
import socket
from time import sleep

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from jobs.accounts import audit
from jobs.batches import records
from jobs.models import Event, Job
from jobs.services import JobDraft
from jobs.state import JobStatus
from tests.support import batches
from tests.support.database import admin_connection, database_url
from tests.support.factories import make_job, move_job
from workers.embedded.processes import wait_until
from workers.webhooks.delivery.fan_out import fan_out

INSERT = """
INSERT INTO jobs_event
  (id, tenant_id, job_id, type, data, actor, created_at, fanned_out_at)
VALUES (gen_random_uuid(), %s, %s, 'job.processing', '{}', '', now(), now())
"""
NOBODY = "0197b2f0-0000-7000-8000-000000000000"
pytestmark = pytest.mark.xdist_group("events")  # one ASGI process for all of them


def types(blocks):
    return [block.type for block in blocks]


def ids_in_table():
    return [
        f"msg_{pk.hex}"
        for pk in Event.objects.order_by("xid", "id").values_list("pk", flat=True)
    ]


def open_streams(follower):
    """Return how many streams the tenant could still open."""
    got = []
    try:
        while (stream := follower.follow()).status == 200:
            got.append(stream)
            stream.begin()
        return len(got)
    finally:
        for each in got:
            each.close()


def test_each_change_is_told_as_it_is_committed(me):
    with me.follow() as stream:
        began = stream.begin()
        job = make_job(me.tenant, status="completed")
        told = stream.next(3)

    assert stream.status == 200
    assert stream.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.response.headers["Cache-Control"] == "private, no-store"
    assert "RateLimit" in stream.response.headers
    assert began.fields["retry"] == "1000"
    assert types(told) == ["job.queued", "job.processing", "job.completed"]
    event = Event.objects.get(type="job.completed")
    assert told[2].data == {
        "id": f"msg_{event.pk.hex}",
        "object": "event",
        "type": "job.completed",
        "timestamp": event.created_at.isoformat(timespec="milliseconds").replace(
            "+00:00", "Z"
        ),
        "job_id": str(job.pk),
        "batch_id": None,
        "status": "completed",
        "data": {"attempt": 0, "region": "local"},
    }
    assert told[2].id == f"{event.xid}-{event.pk}"


def test_who_comes_again_misses_nothing_and_gets_nothing_twice(me):
    seen = []
    with me.follow() as stream:
        stream.begin()
        make_job(me.tenant, status="completed")
        seen += stream.next(2)
    make_job(me.tenant, status="failed")
    with me.follow(last=seen[-1].id) as stream:
        seen += stream.next(3)
    with me.follow(f"/v1/events?last_event_id={seen[-1].id}") as stream:
        make_job(me.tenant)
        seen += stream.next(2)

    assert [block.data["id"] for block in seen] == ids_in_table()
    assert len(seen) == 7


def test_what_began_earlier_and_commits_later_is_neither_lost_nor_repeated(me):
    job = make_job(me.tenant)
    with (
        me.follow() as stream,
        psycopg.connect(database_url(connection.settings_dict["NAME"])) as late,
    ):
        began = stream.begin()
        late.execute(INSERT, [me.tenant.pk, job.pk])
        make_job(me.tenant)  # begins later, commits first
        heard = next(stream.blocks())
        late.commit()
        told = stream.next(2)
        make_job(me.tenant)
        told += stream.next(1)

    assert (heard.comment, heard.type) == ("alive", "")  # nothing runs ahead of it
    assert types(told) == ["job.processing", "job.queued", "job.queued"]
    with me.follow(last=began.id) as again:
        assert [b.data for b in again.next(3)] == [b.data for b in told]
    with me.follow(last=heard.id) as again:
        assert [b.data for b in again.next(3)] == [b.data for b in told]
    with me.follow(last=told[0].id) as again:
        assert [b.data for b in again.next(2)] == [b.data for b in told[1:]]


def test_a_transaction_of_another_database_holds_up_nobody(me):
    with (
        me.follow() as stream,
        admin_connection() as elsewhere,
        elsewhere.transaction(),
    ):
        stream.begin()
        elsewhere.execute("SELECT pg_current_xact_id()")
        make_job(me.tenant)
        (told,) = stream.next()

    assert told.type == "job.queued"


def test_a_jobs_stream_shows_it_follows_it_and_ends(me):
    other = make_job(me.tenant)
    job = make_job(me.tenant)
    with me.follow(f"/v1/jobs/{job.pk}/events") as stream:
        (snapshot,) = stream.next()
        move_job(other, JobStatus.CANCELED)
        move_job(job, JobStatus.CANCELED)
        rest = list(stream.events())

    assert (snapshot.type, snapshot.data["status"]) == ("snapshot", "queued")
    assert snapshot.data["id"] == str(job.pk)
    assert types(rest) == ["job.canceled"]
    # A browser comes again by itself, until it is told not to.
    assert me.follow(f"/v1/jobs/{job.pk}/events", last=rest[0].id).status == 204
    with me.follow(f"/v1/jobs/{job.pk}/events", last=snapshot.id) as again:
        assert [b.data for b in again.events()] == [rest[0].data]


def test_the_stream_of_a_job_that_has_ended_is_one_snapshot(me):
    job = make_job(me.tenant, status="completed")

    with me.follow(f"/v1/jobs/{job.pk}/events") as stream:
        (snapshot,) = stream.events()

    assert snapshot.data["status"] == "completed"
    assert me.follow(f"/v1/jobs/{job.pk}/events", last=snapshot.id).status == 204


def submit_batch(tenant, number):
    drafts = [JobDraft(audio_url="https://audio.example.com/b.wav")] * number
    return batches.submit_batch(
        tenant=tenant,
        api_key=None,
        draft=records.BatchDraft(jobs=drafts, metadata={}),
        now=timezone.now(),
    )


def test_a_batchs_stream_has_its_jobs_and_its_progress_and_ends(me):
    batch = submit_batch(me.tenant, 2)
    make_job(me.tenant)
    with me.follow(f"/v1/batches/{batch.pk}/events") as stream:
        (snapshot,) = stream.next()
        for job in Job.objects.filter(batch=batch):
            move_job(job, JobStatus.CANCELED)
            fan_out(limit=10, now=timezone.now())
        rest = list(stream.events())

    assert snapshot.data["counts"]["open"] == 2
    assert types(rest) == [
        "job.canceled",
        "batch.progress",
        "job.canceled",
        "batch.completed",
    ]
    assert {block.data["batch_id"] for block in rest} == {str(batch.pk)}
    assert rest[1].data["data"]["percent"] == 50
    assert me.follow(f"/v1/batches/{batch.pk}/events", last=rest[-1].id).status == 204


def test_filters_choose_what_is_told(me):
    batch = submit_batch(me.tenant, 1)
    path = f"/v1/events?types=job.canceled,batch.completed&batch_id={batch.pk}"
    with me.follow(path) as stream:
        stream.begin()
        make_job(me.tenant, status="canceled")
        move_job(Job.objects.get(batch=batch), JobStatus.CANCELED)
        fan_out(limit=10, now=timezone.now())
        told = stream.next(2)

    assert types(told) == ["job.canceled", "batch.completed"]
    assert told[0].data["batch_id"] == str(batch.pk)


def test_audit_events_and_other_tenants_are_not_told(me):
    them = me.other()
    with me.follow() as stream, them.follow() as theirs:
        stream.begin(), theirs.begin()
        make_job(them.tenant)
        audit.record(
            type="job.erased", actor="key:x", at=timezone.now(), tenant=me.tenant
        )
        mine = make_job(me.tenant)
        (first,), (their_first,) = stream.next(), theirs.next()

    assert first.data["job_id"] == str(mine.pk)
    assert their_first.data["job_id"] != str(mine.pk)
    foreign = make_job(them.tenant)
    for path in (f"/v1/jobs/{foreign.pk}/events", f"/v1/jobs/{NOBODY}/events"):
        with me.follow(path) as refused:
            assert refused.status == 404
            assert json.loads(refused.response.read())["code"] == "not_found"
    batch = submit_batch(them.tenant, 1)
    with me.follow(f"/v1/events?batch_id={batch.pk}", last=first.id) as stream:
        assert next(stream.blocks()).fields.keys() == {"retry", "id"}
        assert next(stream.blocks()).comment == "alive"
    # Another's position shows nothing of the other's.
    with me.follow(last=their_first.id) as stream:
        assert stream.next()[0].data["job_id"] == str(mine.pk)


@pytest.mark.parametrize(
    "bad",
    ["abc", "1-", "-1", "99999999999999999999-" + NOBODY, "9999999999999-" + NOBODY],
)
def test_what_is_no_position_is_refused(me, bad):
    with me.follow(last=bad) as stream:
        problem = json.loads(stream.response.read())

    assert (stream.status, problem["code"]) == (400, "last_event_id_invalid")
    assert problem["errors"][0]["header"] == "Last-Event-ID"
    assert open_streams(me) == 4


def test_a_quiet_stream_says_that_it_lives_and_up_to_where_all_was_told(me):
    with me.follow() as stream:
        began = stream.begin()
        beats = [next(stream.blocks()) for _ in range(2)]
        make_job(me.tenant)
        (told,) = stream.next()

    assert [beat.comment for beat in beats] == ["alive", "alive"]
    assert "data" not in beats[0].fields
    with me.follow(last=beats[1].id) as again:
        assert again.next()[0].id == told.id
    assert began.id.partition("-")[2] == "00000000-0000-0000-0000-000000000000"


def test_a_tenant_and_a_process_have_so_many_and_get_them_back(me):
    them = me.other()
    mine = [me.follow() for _ in range(5)]
    theirs = [them.follow() for _ in range(3)]

    assert [each.status for each in mine] == [200] * 4 + [429]
    assert [each.status for each in theirs] == [200] * 2 + [503]
    for refused, code in (
        (mine[4], "event_streams_exceeded"),
        (theirs[2], "event_streams_full"),
    ):
        assert json.loads(refused.response.read())["code"] == code
        assert refused.response.headers["Retry-After"] == "5"
    for each in mine + theirs:
        each.close()
    assert wait_until(lambda: open_streams(me) == 4, seconds=5)


def test_who_hangs_up_before_the_first_byte_frees_the_place(me):
    head = (
        f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {me.text}\r\n\r\n"
    )
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", me.door.port)) as raw:
            raw.sendall(head.encode())

    # Asking takes places too, which are given back a moment later.
    assert wait_until(lambda: open_streams(me) == 4 or sleep(0.5), seconds=20)


def test_over_wsgi_a_stream_is_refused_by_a_name(me):
    answer = me.get("/v1/events")

    assert (answer.status_code, answer.json()["code"]) == (
        421,
        "event_stream_unavailable",
    )


def test_head_holds_nothing_open(me):
    for _ in range(6):
        head = me.follow(method="HEAD")

        assert (head.status, head.response.read()) == (200, b"")
        assert head.response.headers["Content-Type"].startswith("text/event-stream")
