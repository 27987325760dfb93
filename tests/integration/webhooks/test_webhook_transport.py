"""The POST on real sockets: whatever the receiver does, it ends and is named."""

import gzip
import socket
import threading
import time

import pytest

from tests.support.webhook_receiver import Reply
from workers.webhooks.delivery import transport

BODY = b'{"id":"msg_1"}'


def post(url: str) -> transport.PostResult:
    return transport.post(url, headers={"webhook-id": "msg_1"}, body=BODY)


def test_the_request_is_what_the_contract_says(listen):
    receiver = listen(Reply(status=204))

    answer = post(receiver.url)

    assert (answer.status_code, answer.error) == (204, "")
    (request,) = receiver.received
    assert (request.method, request.path, request.body) == ("POST", "/hook", BODY)
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
        "user-agent": "transcription-platform-webhooks/1",
        "webhook-id": "msg_1",
    }


@pytest.mark.parametrize(
    ("reply", "status", "error"),
    [
        (Reply(delay=30), None, "timeout"),
        (Reply(head_drip=0.1, headers={"x": "x" * 999}), None, "timeout"),
        # The head says it all: only the body is given up.
        (Reply(body=b"x" * 999, body_drip=0.1), 200, ""),
        (Reply(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 400_000), None, "timeout"),
    ],
    ids=["silent", "dripping head", "dripping body", "flood of 1xx"],
)
def test_a_slow_receiver_ends_at_the_time_limit(listen, settings, reply, status, error):
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.5
    receiver = listen(reply)
    began = time.monotonic()

    answer = post(receiver.url)

    assert 0.5 <= time.monotonic() - began < 3
    assert (answer.status_code, answer.error) == (status, error)
    assert 500 <= answer.duration_ms < 3000


@pytest.mark.parametrize(
    ("reply", "error", "requests"),
    [
        # A connection that died at once is tried once more.
        (Reply(reset="before"), "connection_lost", 2),
        (Reply(hang_up=True), "connection_lost", 2),
        (Reply(raw=b"220 smtp.example ESMTP\r\n\r\n"), "bad_response", 1),
        (Reply(raw=b"<html>HTTP/0.9</html>\r\n\r\n"), "bad_response", 1),
    ],
    ids=["reset", "hang up", "not HTTP", "HTTP/0.9"],
)
def test_no_answer_and_no_http_have_names(listen, reply, error, requests):
    receiver = listen(reply)

    answer = post(receiver.url)

    assert (answer.status_code, answer.error) == (None, error)
    assert len(receiver.received) == requests


@pytest.mark.parametrize(
    "status", [200, 201, 204, 400, 404, 410, 429, 500, 502, 503, 504, 599, 999]
)
def test_any_status_is_an_answer(listen, status):
    receiver = listen(Reply(status=status))

    answer = post(receiver.url)

    assert (answer.status_code, answer.error) == (status, "")
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("raw", "excerpt"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
        (b"HTTP/1.0 200 OK\n\nold", "old"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            b"2;x=y\r\nin\r\n7\r\n chunks\r\n0\r\nx: y\r\n\r\n",
            "in chunks",
        ),
        (b"HTTP/1.1 103 Early\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\nlate", "late"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\ncut off", "cut off"),
        (b"HTTP/1.1 200 OK\r\n\r\n<p>\0\xff</p>", "<p>\ufffd</p>"),
    ],
    ids=["no length", "HTTP/1.0", "chunks", "early hints", "cut off", "binary"],
)
def test_a_body_is_read_however_it_is_framed(listen, raw, excerpt):
    answer = post(listen(Reply(raw=raw)).url)

    assert (answer.status_code, answer.excerpt) == (200, excerpt)


@pytest.mark.parametrize("kind", ["name look-up", "TLS handshake"])
def test_what_hangs_before_the_request_ends_at_the_time_limit(
    listen, settings, monkeypatch, kind
):
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.4
    receiver, url = listen(), "https://hooks.example/"
    released = threading.Event()

    def look_up(*_arguments, **_options):
        released.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    if kind == "name look-up":
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
    else:
        url = f"https://127.0.0.1:{receiver.port}/"
    began = time.monotonic()

    answer = post(url)
    took = time.monotonic() - began
    released.set()

    assert (answer.status_code, answer.error) == (None, "timeout")
    assert 0.4 <= took < 3
    assert receiver.received == []


def test_a_connection_that_dies_after_a_second_is_not_tried_again(listen, monkeypatch):
    monkeypatch.setattr(transport, "INSTANT_RETRY_SECONDS", 0.05)
    receiver = listen(Reply(delay=0.1, hang_up=True))

    assert post(receiver.url).error == "connection_lost"
    assert len(receiver.received) == 1


def test_the_instant_retry_saves_a_message_from_a_stale_connection(listen):
    receiver = listen(Reply(), Reply(hang_up=True), Reply())

    answers = [post(receiver.url), post(receiver.url)]

    assert [each.status_code for each in answers] == [200, 200]
    assert [each.connection for each in receiver.received] == [1, 1, 2]


def test_a_reset_after_the_head_leaves_the_status_standing(listen):
    receiver = listen(Reply(status=500, body=b"never sent", reset="after"))

    answer = post(receiver.url)

    assert (answer.status_code, answer.excerpt) == (500, "")
    assert len(receiver.received) == 1


def test_a_redirect_is_an_answer_and_its_target_is_never_visited(listen):
    target = listen()
    for status in (301, 302, 303, 307, 308):
        receiver = listen(Reply(status=status, headers={"location": target.url}))

        assert post(receiver.url).status_code == status
    assert target.connections == 0


def test_a_hundred_megabytes_are_read_to_64_kib(listen):
    receiver = listen(Reply(body=b"start", filler=100 * 1024**2))

    answer = post(receiver.url)
    receiver.close()

    assert answer.status_code == 200
    # What lay in the sockets' buffers was sent, too.
    assert receiver.filler_sent < 20 * 1024**2
    assert answer.excerpt == "start"


def test_a_gzip_bomb_is_not_inflated(listen):
    bomb = gzip.compress(bytes(10**7))
    receiver = listen(Reply(body=bomb, headers={"content-encoding": "gzip"}))

    answer = post(receiver.url)

    assert answer.excerpt == transport.format_excerpt(bomb)
    assert len(answer.excerpt.encode()) <= transport.MAX_EXCERPT_BYTES


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"a\0b", "ab"),
        (b"bad \xff\xfe utf-8", "bad \ufffd\ufffd utf-8"),
        ("ü".encode() * 9000, "ü" * 4096),
        (b"\xff" * 9000, "\ufffd" * 2730),
    ],
)
def test_an_excerpt_is_text_that_a_column_holds(raw, kept):
    assert transport.format_excerpt(raw) == kept


def test_the_receivers_wishes_are_read(listen):
    wishes = {"Retry-After": "120", "Webhook-Delivery": "disable"}
    receiver = listen(Reply(status=503, headers=wishes))

    answer = post(receiver.url)

    assert (answer.retry_after, answer.instruction) == ("120", "disable")


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        b"HTTP/1.1 410 Gone\r\ncontent-length: 6\r\n\r\npoison",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n\r\n",
    ],
    ids=["a second answer", "a body after 204", "an empty line"],
)
def test_what_follows_an_answer_is_not_taken_for_the_next(listen, first):
    receiver = listen(Reply(raw=first, stays=True), Reply(status=202))

    answers = [post(receiver.url), post(receiver.url)]

    assert [each.status_code // 100 for each in answers] == [2, 2]
    assert answers[1].status_code == 202
    assert [each.connection for each in receiver.received] == [1, 2]


def test_a_cookie_is_not_kept_and_a_connection_is(listen):
    receiver = listen(Reply(headers={"set-cookie": "session=1"}))

    post(receiver.url)
    post(receiver.url)

    assert [each.connection for each in receiver.received] == [1, 1]
    assert "cookie" not in receiver.headers


def test_without_the_allow_list_loopback_is_refused_and_no_connection_arrives(
    listen, settings
):
    receiver = listen()
    settings.EGRESS_ALLOW = []

    answer = post(receiver.url)

    # Neither the address nor the time it took: both would map the inside.
    assert answer == transport.PostResult(error="destination_not_allowed")
    assert receiver.connections == 0


def test_a_proxy_in_the_environment_is_not_used(listen, monkeypatch):
    proxy, receiver = listen(), listen()
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)

    assert post(receiver.url).status_code == 200
    assert proxy.connections == 0


def test_nobody_there_has_a_name():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert post(f"http://127.0.0.1:{port}/").error == "connect_failed"


def test_a_receiver_that_speaks_no_tls_has_a_name():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"220 smtp.example ESMTP\r\n")
                peer.recv(65536)

        greeter = threading.Thread(target=greet)
        greeter.start()
        answer = post(f"https://127.0.0.1:{server.getsockname()[1]}/")
        greeter.join(10)

    assert answer.error == "tls_failed"


@pytest.mark.parametrize(
    "url", ["http://[::1", "https://a.example/\n", "http://\0/", ""]
)
def test_a_url_that_cannot_be_used_is_named_and_not_raised(url):
    assert post(url).error == "url_invalid"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example/",
        "http://a.example/",
        "https://a.example:22/",
        "https://redis:443/",
        "https://127.1/",
    ],
)
def test_a_url_that_would_not_be_taken_today_is_not_even_looked_up(url, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args))

    assert post(url) == transport.PostResult(error="destination_not_allowed")
    assert asked == []


def test_plain_http_is_sent_where_the_operator_allows_it(settings, monkeypatch):
    def look_up(*_arguments, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    settings.WEBHOOK_SCHEMES = ["https", "http"]
    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    assert post("http://nobody.example/").error == "name_not_resolved"


def test_a_name_that_nobody_knows_is_named(monkeypatch):
    def look_up(*_arguments, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    assert post("https://nobody.example/").error == "name_not_resolved"
