"""Who is not let in at the live door, what they are told, and that nothing is left."""

import asyncio
import json
from datetime import timedelta
from http.client import HTTPConnection

import pytest
from django.test import Client
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus

from jobs.accounts import tickets
from jobs.models import Attempt, Job, StreamTicket
from jobs.retention import erasure
from tests.support.factories import make_key
from tests.support.live_client import RAW, make_ticket
from workers.embedded.processes import wait_until

pytestmark = pytest.mark.xdist_group("live")

PAGE = "https://app.example.com"


def refused(connecting):
    """Return the status and the code that a handshake is answered with."""

    async def run():
        with pytest.raises(InvalidStatus) as error:
            async with connecting:
                pass
        return error.value.response

    answer = asyncio.run(run())
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, json.loads(bytes(answer.body))["code"]


def test_nobody_comes_in_who_may_not(me):
    reader = make_key(me.tenant, scopes=("jobs:read",))[1]
    wrong = make_key(me.tenant)
    wrong[0].delete()
    ticket = make_ticket(me)
    late = make_ticket(me, at=timezone.now() - timedelta(seconds=61))
    revoked = make_ticket(me)
    tickets.redeem_ticket(ticket, now=timezone.now())

    asked = {
        "no key": me.connect(key="", **RAW),
        "wrong key": me.connect(key=wrong[1], **RAW),
        "scope": me.connect(key=reader, **RAW),
        "used ticket": me.connect(key="", ticket=ticket, **RAW),
        "late ticket": me.connect(key="", ticket=late, **RAW),
        "key and ticket": me.connect(ticket=revoked, **RAW),
        "foreign page": me.connect(headers={"Origin": "https://evil.example"}, **RAW),
        "option": me.connect(modle="nova-3", **RAW),
        "not of streams": me.connect(summarize="v2", **RAW),
        "value": me.connect(**{**RAW, "sample_rate": "fast"}),
        "low rate": me.connect(**{**RAW, "sample_rate": 1}),
        "high rate": me.connect(**{**RAW, "sample_rate": 10**9}),
        "channels": me.connect(channels=10**6, **RAW),
        "no rate": me.connect(encoding="linear16"),
        "no encoding": me.connect(sample_rate=16000),
    }
    answers = {name: refused(connecting) for name, connecting in asked.items()}

    assert answers == {
        "no key": (401, "key_missing"),
        "wrong key": (401, "key_invalid"),
        "scope": (403, "scope_missing"),
        "used ticket": (401, "ticket_invalid"),
        "late ticket": (401, "ticket_invalid"),
        "key and ticket": (400, "parameter_invalid"),
        "foreign page": (403, "origin_not_allowed"),
        "option": (400, "option_unknown"),
        "not of streams": (400, "option_unknown"),
        "value": (400, "option_invalid"),
        "low rate": (400, "option_invalid"),
        "high rate": (400, "option_invalid"),
        "channels": (400, "option_invalid"),
        "no rate": (400, "option_conflict"),
        "no encoding": (400, "option_conflict"),
    }
    assert Job.objects.count() == 0
    assert me.is_free()


def test_a_page_is_told_by_a_message_what_it_could_not_see_otherwise(me):
    async def run():
        connecting = me.connect(key="", ticket="st_no", headers={"Origin": PAGE}, **RAW)
        async with connecting as socket:
            told = json.loads(await socket.recv())
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        return told, closed.value.rcvd

    told, closed = asyncio.run(run())

    assert (told["type"], told["code"]) == ("error", "ticket_invalid")
    assert (closed.code, closed.reason) == (4401, "ticket_invalid")
    assert Job.objects.count() == 0


def test_a_ticket_opens_one_session_as_it_was_asked_for(me):
    text = make_ticket(me, metadata={"order": 7}, options={"model": "nova-2"})

    async def run():
        async with me.talk(ticket=text, key="") as talk:
            return await talk.finish()

    assert asyncio.run(run()) == (1000, "client_closed")
    job = Job.objects.get()
    assert job.metadata == {"order": 7}
    assert job.options["model"] == "nova-2"
    assert job.options["encoding"] == "linear16"
    assert job.api_key == me.key
    assert refused(me.connect(key="", ticket=text, **RAW)) == (401, "ticket_invalid")
    assert Job.objects.count() == 1
    # The draft is the job's alone, so that erasing the job leaves none of it.
    assert StreamTicket.objects.get().draft == {}
    erasure.erase_job(job=job, actor="t", now=timezone.now())
    job.refresh_from_db()
    assert job.metadata == {}


def test_a_revoked_keys_ticket_opens_nothing(me):
    text = make_ticket(me)
    me.key.revoked_at = timezone.now()
    me.key.save()

    assert refused(me.connect(key="", ticket=text, **RAW)) == (401, "ticket_invalid")
    assert Job.objects.count() == 0


def test_what_is_no_socket_is_told_so(me):
    connection = HTTPConnection("127.0.0.1", me.door.port)
    headers = {"Authorization": f"Bearer {me.text}"}
    connection.request("GET", "/v1/live", headers=headers)
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    over_wsgi = Client().get("/v1/live", headers=headers)

    assert (answer.status, body["code"]) == (426, "upgrade_required")
    assert answer.headers["Upgrade"] == "websocket"
    assert (over_wsgi.status_code, over_wsgi.json()["code"]) == (
        421,
        "live_unavailable",
    )


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/events", "/nowhere"])
def test_other_addresses_are_no_sockets(me, path):
    async def run():
        with pytest.raises(InvalidStatus) as error:
            async with me.connect(path=path):
                pass
        return error.value.response.status_code

    assert asyncio.run(run()) == 404


def test_a_handshake_that_breaks_off_leaves_nothing_open(me):
    async def run():
        head = (
            f"GET /v1/live?encoding=linear16&sample_rate=16000 HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nAuthorization: Bearer {me.text}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
        )
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        for sent in (head[:60], head, head + key):
            _, writer = await asyncio.open_connection("127.0.0.1", me.door.port)
            writer.write(sent.encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())

    # The last of the three was whole: its session begins, and only then ends.
    assert wait_until(lambda: Job.objects.exclude(finished_at=None).exists(), seconds=8)
    assert me.settles()
    assert not Job.objects.filter(status="processing").exists()
    assert not Attempt.objects.filter(outcome="open").exists()
