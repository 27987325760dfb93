"""Attacks of one tenant on shared resources, for as long as the process lives.

Runs as a separate process (``python -m tests.bench.attacks NAME …``) with the lowest
priority, so that its own CPU use does not delay the measured requests. The input comes
from ``tests.fuzz.worst_cases``; an attack is a line in ``ATTACKS``.
"""

import itertools
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

import django
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

django.setup()

# Only now are the apps there that the factories import.
from tests.fuzz import worst_cases  # noqa: E402
from tests.fuzz.calls import Call, Part  # noqa: E402
from tests.fuzz.worst_cases import MIB  # noqa: E402

# Connections of an attack that sends one request after another.
CONNECTIONS = 4
# All of them together send what a key may by default, REQUESTS_PER_MINUTE_PER_KEY: more
# is answered 429, and is a flood, not the cost of one request.
REQUESTS_A_SECOND = 50
HELD_CONNECTIONS = 120
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The two processes, by their ports, and the attacker's own key and upload."""

    web: int
    live: int
    key: str
    job_id: str


def request(
    target: Target,
    line: str,
    *headers: tuple[str, bytes],
    body: bytes | None = None,
    form: list[Part] | None = None,
    query: list[tuple[str, str]] | None = None,
) -> bytes:
    """Return a request of the attacker's as bytes."""
    method, path = line.split(" ", 1)
    key = ("Authorization", f"Bearer {target.key}".encode())
    call = Call(
        operation="",
        method=method,
        path=path,
        query=query or [],
        headers=[key, ("Connection", b"close"), *headers],
        body=body,
        form=form,
    )
    return call.encode()


def repeat(port: int, requests: Iterable[bytes]) -> None:
    """Send the requests over and over, some at a time."""
    requests = list(requests)

    def send_all() -> None:
        for sent in itertools.cycle(requests):
            due = time.monotonic() + CONNECTIONS / REQUESTS_A_SECOND
            with suppress(OSError):
                _send(port, sent)
            time.sleep(max(0.0, due - time.monotonic()))

    _in_threads([send_all] * CONNECTIONS)


def hold(port: int, sent: bytes) -> None:
    """Open many connections, send this on each, and neither read nor close."""

    def hold_one() -> None:
        while True:
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as peer,
            ):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                peer.sendall(sent)
                time.sleep(TIMEOUT_SECONDS)

    _in_threads([hold_one] * HELD_CONNECTIONS)


def talk(target: Target, frames: Callable[[], list[bytes | str]]) -> None:
    """Open sessions one after another, some at a time, and send the frames to each."""
    sent = frames()

    def talk_on() -> None:
        while True:
            with (
                suppress(OSError, WebSocketException, TimeoutError),
                _open(target) as it,
            ):
                for frame in sent:
                    it.send(frame)
                it.recv(timeout=1)
                it.recv(timeout=1)

    _in_threads([talk_on] * 2)


def keep_alive(target: Target) -> None:
    """Take every session there is, and say only that the client is there."""

    def keep() -> None:
        while True:
            with (
                suppress(OSError, WebSocketException, TimeoutError),
                _open(target) as it,
            ):
                while True:
                    it.send('{"type":"keepalive"}')
                    time.sleep(1)
            time.sleep(0.5)

    _in_threads([keep] * 40)


def ping(target: Target) -> None:
    """Open one session and send pings as fast as the process takes them."""
    pings = b"\x89\x80\0\0\0\0" * 1000  # masked, empty (RFC 6455, 5.5.2)
    while True:
        with suppress(OSError, WebSocketException, TimeoutError), _open(target) as it:
            while True:
                it.socket.sendall(pings)


def _open(target: Target) -> "connect":
    return connect(
        f"ws://127.0.0.1:{target.live}/v1/live",
        additional_headers={"Authorization": f"Bearer {target.key}"},
        proxy=None,
        compression=None,
        close_timeout=1,
    )


def _send(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as peer:
        with suppress(ConnectionError):
            peer.sendall(sent)
        while peer.recv(65536):
            pass


def _in_threads(works: list[Callable[[], None]]) -> None:
    threads = [Thread(target=work, daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _file(content: bytes) -> list[Part]:
    return [Part(name="file", content=content, filename="a.wav")]


def _prefer(target: Target) -> None:
    header = worst_cases.HEADERS["Prefer: spaces"]
    body = b'{"audio_url":"https://audio.example.com/a.wav"}'
    repeat(target.web, [request(target, "POST /v1/jobs", header, body=body)])


def _range(target: Target) -> None:
    header = worst_cases.HEADERS["Range: spaces"]
    line = f"GET /v1/jobs/{target.job_id}/audio"
    repeat(target.web, [request(target, line, header)])


def _chunks(target: Target) -> None:
    form = _file(worst_cases.wav_of_chunks(24 * MIB))
    repeat(target.web, [request(target, "POST /v1/jobs", form=form)])


def _cells(target: Target) -> None:
    kind = ("Content-Type", b"application/gzip")
    body = worst_cases.empty_cells(8000, 4000)
    repeat(target.web, [request(target, "POST /v1/batches/check", kind, body=body)])


def _form(target: Target, port: int, *lines: str) -> None:
    form = _file(bytes(200 * MIB))
    repeat(port, [request(target, line, form=form) for line in lines])


def _headers(target: Target) -> None:
    headers = worst_cases.HEADERS.values()
    repeat(target.web, [request(target, "GET /v1/jobs", each) for each in headers])


def _queries(target: Target) -> None:
    queries = list(worst_cases.QUERIES.values())
    names = ("cursor", "created_after", "status", "custom_id")
    queries += [[(n, text)] for n in names for text in worst_cases.TEXTS.values()]
    repeat(target.web, [request(target, "GET /v1/jobs", query=q) for q in queries])


def _searches(target: Target) -> None:
    queries = [[("q", text)] for text in worst_cases.SEARCHES.values()]
    line = "GET /v1/transcripts"
    repeat(target.web, [request(target, line, query=query) for query in queries])


def _slow_bodies(target: Target, port: int) -> None:
    whole = request(target, "POST /v1/jobs", form=_file(bytes(MIB)))
    hold(port, whole[:600])


def _slow_readers(target: Target) -> None:
    hold(target.web, request(target, "GET /v1/openapi.json"))


# The server answers pings itself, before the platform sees them: what they cost is shown
# and not judged (docs/security.md).
UNJUDGED = {"session: pings"}
# Name → which process the other tenant is measured at, and the attack.
ATTACKS: dict[str, tuple[str, Callable[[Target], None]]] = {
    "Prefer of spaces": ("web", _prefer),
    "Range of spaces": ("web", _range),
    "WAV of 8-byte chunks, 24 MB": ("web", _chunks),
    "gzip CSV of empty cells": ("web", _cells),
    "form of 200 MB to /v1/live": (
        "live",
        lambda it: _form(it, it.live, "POST /v1/live"),
    ),
    "form of 200 MB to no route": ("web", lambda it: _form(it, it.web, "POST /none")),
    "long headers": ("web", _headers),
    "long queries": ("web", _queries),
    "searches": ("web", _searches),
    "bodies that do not arrive": ("web", lambda it: _slow_bodies(it, it.web)),
    "bodies that do not arrive, live": ("live", lambda it: _slow_bodies(it, it.live)),
    "answers that are not read": ("web", _slow_readers),
    **{
        f"session: {name}": (
            "live",
            lambda it, name=name: talk(it, worst_cases.FRAMES[name]),  # type: ignore[misc]
        )
        for name in (
            "WAV of one byte a second",
            "WAV of empty chunks byte by byte",
            "a text of 15 MB",
            "a megabyte of [",
        )
    },
    "sessions of KeepAlives alone": ("live", keep_alive),
    "session: pings": ("live", ping),
}


if __name__ == "__main__":
    os.nice(19)
    name, web, live, key, job_id = sys.argv[1:]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ATTACKS[name][1](Target(web=int(web), live=int(live), key=key, job_id=job_id))
