"""A request's body over ASGI: what is read of it, and when."""

import asyncio

import pytest
from django.core.exceptions import RequestAborted

from transcribe_platform.middleware import lazy_bodies
from transcribe_platform.middleware.lazy_bodies import (
    SMALL_BYTES,
    RequestBody,
    takes_body,
)


def message(body, *, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


class Client:
    """Sends these messages, then nothing more; counts those that were taken."""

    def __init__(self, *messages):
        self.messages, self.taken = list(messages), 0

    async def receive(self):
        if self.taken == len(self.messages):
            await asyncio.Event().wait()
        self.taken += 1
        return self.messages[self.taken - 1]


def scope_of(method="POST", path="/v1/jobs", length=None, **headers):
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    if length is not None:
        given.append((b"content-length", str(length).encode()))
    return {"type": "http", "method": method, "path": path, "headers": given}


def body_of(client, **named):
    return RequestBody(scope_of(**named), client.receive)


def test_a_small_body_is_read_whole():
    async def run():
        client = Client(message(b"ab"), message(b"c", more=False))
        return await body_of(client, length=3).read_all()

    assert asyncio.run(run()) == b"abc"


@pytest.mark.parametrize("end", [GONE, message(b"", more=False)])
def test_a_body_that_breaks_off_is_what_came_of_it(end):
    async def run():
        return await body_of(Client(message(b"ab"), end), length=3).read_all()

    assert asyncio.run(run()) == b"ab"


def test_a_client_that_leaves_at_once_ends_the_request():
    async def run():
        return await body_of(Client(GONE), length=3).read_all()

    with pytest.raises(RequestAborted):
        asyncio.run(run())


def test_a_body_that_does_not_arrive_in_time_is_cut(monkeypatch):
    monkeypatch.setattr(lazy_bodies, "PAUSE_SECONDS", 0.01)

    async def run():
        body = body_of(Client(message(b"ab")), length=SMALL_BYTES + 1)
        raw = body.open()
        first = await asyncio.to_thread(raw.read, 10)
        with pytest.raises(OSError, match="truncated"):
            await asyncio.to_thread(raw.read, 10)
        return first, await body_of(Client(message(b"ab")), length=3).read_all()

    assert asyncio.run(run()) == (b"ab", b"ab")


def test_a_body_without_any_length_counts_as_empty():
    async def run():
        client = Client(message(b"ab"))
        return await body_of(client).read_all(), client.taken

    assert asyncio.run(run()) == (b"", 0)


@pytest.mark.parametrize("end", [GONE, message(b"c", more=False)])
def test_a_chunked_body_ends_with_its_last_chunk_or_breaks_off(end):
    async def run():
        client = Client(message(b"ab"), end)
        body = body_of(client, **{"transfer-encoding": "chunked"})
        assert not body.is_small
        raw = body.open()
        read = [await asyncio.to_thread(raw.read, 10)]
        if end is GONE:
            with pytest.raises(OSError, match="truncated"):
                await asyncio.to_thread(raw.read, 10)
        else:
            read += [await asyncio.to_thread(raw.read, 10) for _ in range(2)]
        return read

    assert asyncio.run(run()) == ([b"ab"] if end is GONE else [b"ab", b"c", b""])


def test_a_body_that_no_view_reads_is_not_received_until_the_client_leaves():
    async def run():
        client = Client(message(b"a" * 10), GONE)
        body = body_of(client, length=10**9)
        waiting = asyncio.create_task(body())
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        return client.taken

    assert asyncio.run(run()) == 0


def test_the_body_of_a_get_is_discarded_and_a_long_one_ends_the_request():
    async def run():
        long = Client(*[message(b"a" * SMALL_BYTES)] * 9)
        short = Client(message(b"a", more=False), GONE)
        ends = [
            await body_of(client, method="GET", length=5)() for client in (long, short)
        ]
        return ends, long.taken, short.taken

    assert asyncio.run(run()) == ([GONE, GONE], 2, 2)


@pytest.mark.parametrize(
    ("line", "takes"),
    [
        ("POST /v1/jobs", True),
        ("PATCH /v1/webhook-endpoints/0197b2f0-0000-7000-8000-000000000000", True),
        ("POST /admin/login/", True),
        ("GET /v1/jobs", False),
        ("PUT /v1/jobs", False),
        ("POST /v1/live", False),
        ("POST /v1/none", False),
        ("POST /docs", False),
        ("POST /health/live", False),
        ("POST /console/", False),
    ],
)
def test_routes_are_known_to_take_a_body_or_none(line, takes):
    method, path = line.split()

    assert takes_body(scope_of(method, path)) is takes
