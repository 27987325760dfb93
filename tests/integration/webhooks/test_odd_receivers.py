"""Responses that curl and Python's http.client accept, byte by byte.

A status line that arrived is the answer, whatever follows it.
"""

import pytest

from tests.support.webhook_receiver import Reply
from workers.webhooks.delivery import transport

OK = b"HTTP/1.1 200 OK\r\n"
END = b"content-length: 2\r\n\r\nok"
CHUNKS = b"\r\n2\r\nok\r\n0\r\n\r\n"
ACCEPTED = {
    "plain": OK + END,
    "created": b"HTTP/1.1 201 Created\r\n" + END,
    "no reason": b"HTTP/1.1 200\r\n" + END,
    "empty reason": b"HTTP/1.1 200 \r\n" + END,
    "reason in latin-1": "HTTP/1.1 200 Für Sie\r\n".encode("latin-1") + END,
    "reason in utf-8": "HTTP/1.1 200 好的\r\n".encode() + END,
    "control in reason": b"HTTP/1.1 200 O\x01K\r\n" + END,
    "two spaces": b"HTTP/1.1  200 OK\r\n" + END,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + END,
    "HTTP/2 over HTTP/1": b"HTTP/2 200\r\n" + END,
    "bare line feeds": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\n" * 2 + CHUNKS,
    "chunked, chunked": OK + b"Transfer-Encoding: chunked, chunked\r\n" + CHUNKS,
    "identity": OK + b"Transfer-Encoding: identity\r\n" + END,
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n" + CHUNKS,
    "empty encoding": OK + b"Transfer-Encoding: \r\n" + END,
    "unknown encoding": OK + b"Transfer-Encoding: utf-8\r\n" + END,
    "space before the colon": OK + b"X-Powered-By : PHP/5\r\n" + END,
    "empty name": OK + b": nothing\r\n" + END,
    "name that is not ASCII": OK + "Größe: 1\r\n".encode() + END,
    "space in a name": OK + b"X Powered By: PHP\r\n" + END,
    "no colon": OK + b"Warning\r\n" + END,
    "NUL in a name": OK + b"x\0: 1\r\n" + END,
    "NUL in a value": OK + b"x: \0\r\n" + END,
    "control in a value": OK + b"x: \x08\r\n" + END,
    "bare carriage return": OK + b"x: a\rb\r\n" + END,
    "folded value": OK + b"x: a\r\n b\r\n" + END,
    "fold at once": OK + b" x: a\r\n" + END,
    "two lengths": OK + b"Content-Length: 5\r\n" + END,
    "length is a word": OK + b"Content-Length: two\r\n\r\nok",
    "length below zero": OK + b"Content-Length: -1\r\n\r\nok",
    "length with a sign": OK + b"Content-Length: +2\r\n\r\nok",
    "length and chunks": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n" + CHUNKS,
    "bad chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n",
    "plain body as chunks": OK + b"Transfer-Encoding: chunked\r\n\r\nok",
    "a huge header": OK + b"x: " + b"x" * 200_000 + b"\r\n" + END,
    "a thousand headers": OK + b"x: 1\r\n" * 20_000 + END,
    "body after 204": b"HTTP/1.1 204 No Content\r\n" + END,
    "status 299": b"HTTP/1.1 299 Fine\r\n" + END,
    "after 100": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"a b: c\r\n" + END,
    "after 103 with bad headers": b"HTTP/1.1 103 Early\r\nx y: z\r\n\r\n" + OK + END,
    "cut off in the head": OK + b"content-le",
    "cut off after the line": OK,
    "page instead of headers": OK + b"<html>\r\nthanks\r\n",
}  # fmt: skip
REFUSED = {
    "nothing": (b"\r\n\r\n", "bad_response"),
    "another protocol": (b"220 smtp.example ESMTP\r\n\r\n", "bad_response"),
    "a page": (b"<html>200 OK</html>\r\n\r\n", "bad_response"),
    "no number": (b"HTTP/1.1 OK\r\n" + END, "bad_response"),
    "four digits": (b"HTTP/1.1 2000 OK\r\n" + END, "bad_response"),
    "cut off in the line": (b"HTTP/1.1 200 O", "connection_lost"),
    "after 100, nothing": (b"HTTP/1.1 100 Continue\r\n\r\n", "connection_lost"),
}


def post(listen, raw):
    receiver = listen(Reply(raw=raw))
    answer = transport.post(receiver.url, headers={"webhook-id": "m"}, body=b"{}")
    return answer, len(receiver.received)


@pytest.mark.parametrize("name", list(ACCEPTED))
def test_a_status_line_that_arrived_is_an_acceptance(listen, name):
    answer, requests = post(listen, ACCEPTED[name])

    assert (answer.is_success, answer.error, requests) == (True, "", 1)


@pytest.mark.parametrize("status", [301, 404, 410, 429, 500])
def test_another_status_is_known_too(listen, status):
    answer, _ = post(listen, b"HTTP/1.1 %d X\r\nbad header\r\n\r\n" % status)

    assert (answer.status_code, answer.is_success, answer.error) == (status, False, "")


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_no_status_line_is_no_answer(listen, name):
    raw, error = REFUSED[name]

    answer, _ = post(listen, raw)

    assert (answer.status_code, answer.error) == (None, error)


def test_a_head_without_end_is_given_up_at_the_time_limit_and_accepted(
    listen, settings
):
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.5
    receiver = listen(Reply(raw=OK + b"x: 1\r\n", stays=True))

    answer = transport.post(receiver.url, headers={"webhook-id": "m"}, body=b"{}")

    assert answer.status_code == 200
    assert answer.duration_ms < 3000
