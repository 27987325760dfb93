"""The way to a server, against a real one that answers what it is told to."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from transcribe_platform.client import AudioFile, Client, JobRequest, Patience
from transcribe_platform.client.errors import (
    FileChanged,
    InvalidRequest,
    LimitExceeded,
    NotThePlatform,
    Unreachable,
)

PROBLEM = {"Content-Type": "application/problem+json"}


class Server:
    """Answers from a list, the last one again and again; remembers what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes] | None] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                headers = {k.lower(): v for k, v in self.headers.items()}
                outer.asked.append((f"{self.command} {self.path}", headers, body))
                many = len(outer.answers) > 1
                said = outer.answers.pop(0) if many else outer.answers[0]
                if said is None:  # break off
                    self.close_connection = True
                    return
                status, headers, content = said
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *_args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,)).start()

    def say(self, *answers: Any) -> None:
        self.answers = [
            answer if answer is None or len(answer) == 3 else _problem(*answer)
            for answer in answers
        ]


def _problem(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    body = {"code": code, "detail": "No.", "request_id": "r-1"}
    return status, PROBLEM, json.dumps(body).encode()


def ok(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.http.shutdown()
    started.http.server_close()


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def client(server: Server, naps: list[float]) -> Iterator[Client]:
    patience = Patience(sendings=4)
    made = Client(server.url, "tp_live_x", patience=patience, sleep=naps.append)
    yield made
    made.close()


def test_a_refusal_is_waited_out_as_it_says(server, client, naps):
    limited = (429, {**PROBLEM, "Retry-After": "3"}, b'{"code": "rate_limited"}')
    server.say(limited, (503, "service_unavailable"), ok({"id": "1"}))

    assert client.jobs.get("1") == {"id": "1"}

    assert naps[0] == 3.0
    assert len(naps) == 2
    assert {headers["authorization"] for _, headers, _ in server.asked} == {
        "Bearer tp_live_x"
    }


def test_a_long_wait_is_the_callers_to_see(server, client, naps):
    server.say((429, {**PROBLEM, "Retry-After": "7200"}, b'{"code": "quota_exceeded"}'))

    with pytest.raises(LimitExceeded) as raised:
        client.jobs.get("1")

    assert (raised.value.code, raised.value.retry_after) == ("quota_exceeded", 7200)
    assert naps == []


def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    server, client, naps, tmp_path
):
    path = tmp_path / 'ä "x".wav'
    path.write_bytes(b"RIFF" * 1000)
    server.say(None, ok({"id": "7"}))

    job = client.jobs.submit_file(path, JobRequest(options={"tag": ["a"]}))

    assert job == {"id": "7"}
    (_, first, body), (_, second, again) = server.asked
    assert first["idempotency-key"] == second["idempotency-key"]
    assert body == again
    assert int(first["content-length"]) == len(body)
    assert 'filename="ä %22x%22.wav"'.encode() in body
    assert b'name="options"\r\n\r\n{"tag": ["a"]}\r\n' in body
    assert body.count(b"RIFF" * 1000) == 1


def test_what_must_not_be_done_twice_is_not_sent_twice(server, client):
    server.say(None)

    with pytest.raises(Unreachable):
        client.webhooks.redeliver("1")

    assert len(server.asked) == 1


def test_a_file_that_changes_on_the_way_is_not_sent_to_its_end(
    server, client, tmp_path
):
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(100))
    audio = AudioFile.read(path)
    path.write_bytes(bytes(99) + b"!")

    with pytest.raises(FileChanged):
        list(audio.chunks())


def test_a_problem_becomes_an_error_with_all_that_it_says(server, client):
    problem = {
        "code": "option_unknown",
        "detail": "There is no such option.",
        "request_id": "r-9",
        "errors": [{"pointer": "/options/x", "code": "option_unknown", "detail": "?"}],
    }
    server.say((400, PROBLEM, json.dumps(problem).encode()))

    with pytest.raises(InvalidRequest) as raised:
        client.jobs.get("1")

    error = raised.value
    assert (error.status, error.code, error.request_id) == (
        400,
        "option_unknown",
        "r-9",
    )
    assert error.faults == problem["errors"]


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"Content-Type": "text/html"}, b"<h1>It works!</h1>"),
        (404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>"),
        (301, {"Location": "https://elsewhere.example/"}, b""),
    ],
)
def test_another_server_is_known_as_one(server, client, answer):
    server.say(answer)

    with pytest.raises(NotThePlatform):
        client.jobs.get("1")


def test_a_server_that_was_never_there_is_called_three_times(naps, server):
    url = server.url
    server.http.shutdown()
    server.http.server_close()

    with Client(url, "k", sleep=naps.append) as client, pytest.raises(Unreachable):
        client.jobs.get("1")

    assert len(naps) == 2
    server.http = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.http.serve_forever, args=(0.01,)).start()


def test_lists_are_walked_page_by_page_and_no_further_than_wanted(server, client):
    first = {"data": [{"id": "1"}, {"id": "2"}], "has_more": True, "next_cursor": "c"}
    last = {"data": [{"id": "3"}], "has_more": False, "next_cursor": None}
    server.say(ok(first), ok(last))
    everything = [job["id"] for job in client.jobs.iterate(status="failed")]
    server.say(ok(first))
    some = [job["id"] for job in client.jobs.iterate(limit=2)]

    assert everything == ["1", "2", "3"]
    assert some == ["1", "2"]
    assert [asked for asked, _, _ in server.asked] == [
        "GET /v1/jobs?status=failed&limit=100",
        "GET /v1/jobs?status=failed&limit=100&cursor=c",
        "GET /v1/jobs?limit=2",
    ]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (JobRequest(), JobRequest(), True),
        (
            JobRequest(options={"a": 1, "b": 2}),
            JobRequest(options={"b": 2, "a": 1}),
            True,
        ),
        (JobRequest(), JobRequest(priority="high"), False),
        (JobRequest(), JobRequest(nonce="x"), False),
    ],
)
def test_the_same_request_has_the_same_key(client, tmp_path, one, other, is_same):
    path: Path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    audio = AudioFile.read(path)
    moved = path.rename(tmp_path / "sub.wav").rename(tmp_path / "a.wav")

    keys = {
        client.jobs.key_of(audio, one),
        client.jobs.key_of(AudioFile.read(moved), other),
    }

    assert (len(keys) == 1) is is_same
