"""The head of a request is limited before anything reads it."""

import asyncio
import json
import time
from http import HTTPStatus

import pytest
from django.http.cookie import parse_cookie
from django.test import Client
from django.utils.http import parse_etags, parse_header_parameters

from tests.support.factories import make_key
from transcribe_platform import asgi, wsgi
from transcribe_platform.api_errors.problem_table import PROBLEMS
from transcribe_platform.middleware import head_limits
from transcribe_platform.middleware.head_limits import MAX_PATH, MAX_QUERY, check_head

TOO_LARGE = [
    ("/" + "a" * MAX_PATH, "", {}, 414, "uri_too_long"),
    ("/v1/me", "a" * (MAX_QUERY + 1), {}, 414, "uri_too_long"),
    ("/v1/me", "", {"prefer": "x" * 8192}, 431, "header_fields_too_large"),
    ("/v1/me", "", {"x" * 8192: "x"}, 431, "header_fields_too_large"),
    ("/v1/me", "", {"cookie": "x" * 4096}, 431, "header_fields_too_large"),
    ("/v1/me", "", {"content-type": "x" * 1024}, 431, "header_fields_too_large"),
    (
        *("/v1/me", "", {f"x-{n:03}": "" for n in range(101)}),
        *(431, "header_fields_too_large"),
    ),
    (
        *("/v1/me", "", {f"x-{n}": "x" * 8000 for n in range(5)}),
        *(431, "header_fields_too_large"),
    ),
]


def environ_of(path, query, headers):
    named = {name.upper().replace("-", "_"): value for name, value in headers.items()}
    plain = ("CONTENT_TYPE",)
    fields = {n if n in plain else f"HTTP_{n}": v for n, v in named.items()}
    return {"PATH_INFO": path, "QUERY_STRING": query, **fields}


def scope_of(kind, path, query, headers):
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": kind,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": pairs,
        "extensions": {"websocket.http.response": {}},
    }


def serve(app, scope, first):
    sent = []

    async def receive():
        return {"type": first}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def assert_refused(status, body, headers, expected):
    problem = json.loads(body)
    assert (status, problem["status"], problem["code"]) == (expected[0], *expected)
    assert PROBLEMS[problem["code"]].status == status
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(body))
    assert headers["x-request-id"] == problem["request_id"]
    assert "more than" in problem["detail"]


@pytest.mark.parametrize(("path", "query", "headers", "status", "code"), TOO_LARGE)
def test_wsgi_refuses_a_head_that_is_too_large(path, query, headers, status, code):
    started = []

    def start_response(line, pairs):
        started.append((line, {name.lower(): value for name, value in pairs}))

    answer = wsgi.application(environ_of(path, query, headers), start_response)

    ((line, sent),) = started
    assert line == f"{status} {HTTPStatus(status).phrase}"
    assert_refused(status, b"".join(answer), sent, (status, code))


@pytest.mark.parametrize(
    ("kind", "first", "answers"),
    [
        ("http", "http.request", "http.response"),
        ("websocket", "websocket.connect", "websocket.http.response"),
    ],
)
@pytest.mark.parametrize("head", TOO_LARGE)
def test_asgi_refuses_requests_and_sockets_alike(kind, first, answers, head):
    path, query, headers, status, code = head
    scope = scope_of(kind, path, query, headers)

    start, body = serve(asgi.application, scope, first)

    assert (start["type"], body["type"]) == (f"{answers}.start", f"{answers}.body")
    sent = {name.decode(): value.decode() for name, value in start["headers"]}
    assert_refused(start["status"], body["body"], sent, (status, code))


def test_a_server_that_cannot_deny_a_socket_closes_it():
    scope = scope_of("websocket", "/v1/live", "x" * (MAX_QUERY + 1), {})

    sent = serve(asgi.application, {**scope, "extensions": {}}, "websocket.connect")
    gone = serve(asgi.application, scope, "websocket.disconnect")

    assert sent == [{"type": "websocket.close"}]
    assert gone == []


@pytest.mark.parametrize(
    ("path", "query", "headers"),
    [
        ("/", "", {}),
        ("/" + "a" * (MAX_PATH - 1), "a" * MAX_QUERY, {}),
        ("/v1/listen", "callback=" + "u" * 8192 + "&keyterm=" + "k" * 16_384, {}),
        ("/v1/me", "", {"authorization": "x" * 8179}),
        ("/v1/me", "", {f"x-{n}": "x" * 300 for n in range(100)}),
        ("/v1/me", "", {"cookie": "x" * 4090, "content-type": "x" * 1012}),
    ],
)
def test_what_clients_send_is_within_the_limits(path, query, headers):
    fields = [(name, len(value)) for name, value in headers.items()]

    assert check_head(path=len(path), query=len(query), fields=fields) is None


LARGEST = {
    "content type": (parse_header_parameters, "a/b" + ";" * 1000),
    "quotes in a content type": (parse_header_parameters, "a/b" + ';"' * 500),
    "cookie": (parse_cookie, 'a="' + '\\"' * 2000 + '"'),
    "entity tags": (parse_etags, '",' * 4000),
    "forwarded": (lambda text: text.split(","), "," * 8000),
}


@pytest.mark.parametrize("kind", LARGEST)
def test_django_reads_the_largest_field_that_passes_at_once(kind):
    read, text = LARGEST[kind]

    def measure():
        began = time.thread_time()
        read(text)
        return time.thread_time() - began

    # What others may wait for one request at most.
    assert min(measure() for _ in range(5)) < 0.05


def test_the_limits_stand_in_front_of_everything():
    assert isinstance(wsgi.application, head_limits.WsgiHeadLimits)
    assert isinstance(asgi.application, head_limits.AsgiHeadLimits)


def test_a_long_list_of_keyterms_reaches_the_door(db):
    _, text = make_key()
    terms = "&".join(f"keyterm=term{n:04}{'x' * 120}" for n in range(120))
    assert len(terms) > 16_384

    answer = Client().post(
        f"/v1/listen?{terms}&model=nova-2",
        b"x",
        content_type="audio/wav",
        headers={"Authorization": f"Token {text}"},
    )

    assert answer.status_code == 400
    assert b"nova" in answer.content or b"keyterm" in answer.content
