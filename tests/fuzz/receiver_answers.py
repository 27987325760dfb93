"""Receivers that answer anything at all: mutated HTTP on a real loopback socket.

Whatever comes, the POST ends in time, raises nothing, and what it returns can be
stored and planned with. Every round is made of the seed and its number alone, so
`check_round` runs a failed one again.
"""

import math
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from django.test import override_settings

from tests.fuzz import http_mutations
from workers.webhooks.delivery import schedule, transport
from workers.webhooks.models import WebhookDelivery

# One round is mostly waiting for the other side; more threads only share the GIL.
THREADS = 12
LIMIT_SECONDS = 0.25
# What a loaded machine may add to the limit before it counts as a hang.
PATIENCE_SECONDS = 10.0
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PLAN = schedule.RetrySchedule(delays=(5, 300, 86400), throttled_seconds=60)
LONGEST_DELAY = 2 * 1.2 * 86400 + 1


class Broken(AssertionError):
    """A round broke a promise; its message says how to run it again."""


@dataclass(frozen=True, slots=True)
class Script:
    """What the receiver does in one round."""

    pieces: tuple[bytes, ...]
    pause: float
    # "close", "reset", "hang", or "stay" for the next request.
    end: str


def run(rounds: int, seed: int) -> Counter[str]:
    """Run so many rounds; return how often a POST ended how. Raises Broken."""
    ends: Counter[str] = Counter()
    with receiving(seed) as url, ThreadPoolExecutor(THREADS) as pool:
        for end in pool.map(lambda number: _round(url, seed, number), range(rounds)):
            ends[end] += 1
    return ends


def check_round(seed: int, number: int) -> str:
    """Run one round alone; return how the POST ended."""
    with receiving(seed) as url:
        return _round(url, seed, number)


def make_script(seed: int, number: int) -> Script:
    """Return what the receiver does in a round."""
    draw = random.Random(f"{seed}:{number}")
    answer = http_mutations.make_answer(draw, number)
    pause = draw.choice((0.001, 0.02)) if draw.random() < 0.03 else 0.0
    if pause or draw.random() < 0.3:
        pieces = http_mutations.cut(draw, answer)
    else:
        pieces = (answer,)
    end = draw.choices(("close", "reset", "stay", "hang"), (70, 10, 19, 1))[0]
    return Script(pieces, pause, end)


def _round(url: str, seed: int, number: int) -> str:
    began = time.monotonic()
    try:
        answer = transport.post(f"{url}/{number}", headers={}, body=b"{}")
        _check(answer, number)
    except Exception as error:
        again = f"check_round(seed={seed}, number={number})"
        message = f"{again}: {error!r} after {make_script(seed, number)!r:.2000}"
        raise Broken(message) from error
    took = time.monotonic() - began
    if took > LIMIT_SECONDS + PATIENCE_SECONDS:
        raise Broken(f"check_round(seed={seed}, number={number}): {took:.1f} s")
    return answer.error or f"{answer.status_code // 100}xx"


def _check(answer: schedule.PostResult, number: int) -> None:
    assert (answer.status_code is None) == bool(answer.error)
    assert answer.status_code is None or 200 <= answer.status_code <= 999
    assert len(answer.error) <= 60
    assert answer.error != "request_failed"  # every failure has a name
    assert 0 <= answer.duration_ms < 2**31
    assert "\0" not in answer.excerpt
    assert len(answer.excerpt.encode()) <= transport.MAX_EXCERPT_BYTES
    theirs = http_mutations.rounds_told_in(answer.excerpt)
    assert theirs <= {number}, f"an answer of round {theirs}"
    for attempts in (1, 3, 4):
        step = schedule.next_step(answer, attempts=attempts, plan=PLAN, draw=1, now=NOW)
        pending = step.status == WebhookDelivery.Status.PENDING
        assert pending == (step.delay is not None)
        if step.delay is not None:
            assert math.isfinite(step.delay)
            assert 0 < step.delay <= LONGEST_DELAY


@contextmanager
def receiving(seed: int) -> Iterator[str]:
    """Answer every request by the script of the round that its path names."""
    stopping = threading.Event()
    limits = {
        "EGRESS_ALLOW": ["127.0.0.1"],
        "EGRESS_PROXY": "",
        "WEBHOOK_TIMEOUT_SECONDS": LIMIT_SECONDS,
    }
    with (
        socket.create_server(("127.0.0.1", 0), backlog=512) as server,
        override_settings(**limits),
    ):
        threading.Thread(
            target=_accept, args=(server, seed, stopping), daemon=True
        ).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stopping.set()
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            transport.close()


def _accept(server: socket.socket, seed: int, stopping: threading.Event) -> None:
    with suppress(OSError):
        while True:
            peer, _ = server.accept()
            threading.Thread(
                target=_serve, args=(peer, seed, stopping), daemon=True
            ).start()


def _serve(peer: socket.socket, seed: int, stopping: threading.Event) -> None:
    with peer, suppress(OSError, EOFError):
        peer.settimeout(LIMIT_SECONDS * 4)
        while _answer(peer, make_script(seed, _read_number(peer)), stopping):
            pass


def _read_number(peer: socket.socket) -> int:
    """Read one request, whole; return the number in its path."""
    request = b""
    while not request.endswith(b"\r\n\r\n{}"):
        found = peer.recv(65536)
        if not found:
            raise EOFError
        request += found
    return int(request.split(b" ", 2)[1][1:])


def _answer(peer: socket.socket, script: Script, stopping: threading.Event) -> bool:
    """Send the answer; return whether the connection stays."""
    for piece in script.pieces:
        peer.sendall(piece)
        if script.pause:
            stopping.wait(script.pause)
    if script.end == "hang":
        stopping.wait(LIMIT_SECONDS * 2)
    if script.end == "reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return script.end == "stay"
