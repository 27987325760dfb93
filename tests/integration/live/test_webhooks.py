"""Whoever is to hear of a session's end hears of it: endpoints, and callbacks."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from django.utils import timezone

from jobs.models import Job, Worker
from tests.support.live_client import RAW, make_ticket
from tests.support.live_streams import find_truth, make_speech, rounded
from tests.support.webhook_receiver import Receiver, listening
from workers.webhooks.delivery import dispatch, fan_out, services, transport
from workers.webhooks.messages import secrets, signing
from workers.webhooks.models import WebhookEndpoint

pytestmark = pytest.mark.xdist_group("live")

AUDIO = make_speech(3.0, seed=8)


@pytest.fixture
def site(settings) -> Iterator[Receiver]:
    settings.EGRESS_ALLOW = ["127.0.0.0/8"]
    with listening() as receiver:
        yield receiver
    transport.close()


def deliver_all(me, site: Receiver) -> list[tuple[str, dict]]:
    """Return the path and body of all that is sent, its signature checked."""
    now = timezone.now()
    Worker.objects.create(name="h", queues=["webhooks"], slots=5, seen_at=now)
    while fan_out.fan_out(limit=100, now=now):
        pass
    for claim in dispatch.claim(now=now):
        services.deliver([claim], clock=timezone.now)
    secret = secrets.get_or_create_tenant_secret(me.tenant)
    for each in site.received:
        signing.verify(headers=each.headers, body=each.body, secret=secret, now=now)
    return [(each.path, json.loads(each.body)) for each in site.received]


def test_the_end_of_a_session_is_told_to_endpoints_and_to_its_callback(me, site):
    WebhookEndpoint.objects.create(tenant=me.tenant, url=f"{site.url}?endpoint")
    ticket = make_ticket(me, callback_url=f"{site.url}?callback", metadata={"a": 1})

    async def run():
        async with me.talk(ticket=ticket, key="") as talk:
            await talk.send(AUDIO)
            await talk.finish()

    asyncio.run(run())
    told = deliver_all(me, site)

    ends = {path: body for path, body in told if body["type"] == "job.completed"}
    assert set(ends) == {"/hook?endpoint", "/hook?callback"}
    for body in ends.values():
        job = body["data"]
        assert (job["id"], job["status"]) == (str(Job.objects.get().pk), "completed")
        assert (job["metadata"], job["duration_seconds"]) == ({"a": 1}, 3.0)
        assert job["result"]["words"] == len(find_truth(AUDIO))


def test_deepgrams_callback_gets_one_document_at_the_end(me, site):
    async def run():
        query = {**RAW, "callback": f"{site.url}?dg"}
        async with me.connect(path="/v1/listen", **query) as socket:
            await socket.send(AUDIO)
            await socket.send('{"type":"CloseStream"}')
            return [json.loads(each) async for each in socket]

    told = asyncio.run(run())
    ((path, document),) = deliver_all(me, site)

    assert told[-1]["type"] == "Metadata"
    assert path == "/hook?dg"
    assert document["metadata"]["request_id"] == str(Job.objects.get().pk)
    (channel,) = document["results"]["channels"]
    words = channel["alternatives"][0]["words"]
    said = [(each["word"], each["start"], each["end"]) for each in words]
    assert rounded(said) == find_truth(AUDIO)
