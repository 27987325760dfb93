"""One request on a connection of its own, and what may be said of its answer."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any

from transcribe_platform.api_errors.problem_table import PROBLEMS

# A caller may ask to wait for a minute; only what never ends takes as long as this.
DEADLINE_SECONDS = 100.0
# How long an unfinished request waits before its end is shown.
PATIENCE_SECONDS = 0.15
LONG_BYTES = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; without a status the connection was closed."""

    status: int = 0
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:
        """Return the body, or None if it is not JSON."""
        with suppress(ValueError):
            return json.loads(self.body)
        return None


class Finding(Exception):
    """Something that must not happen."""


def exchange(port: int, sent: bytes, *, method: str, is_whole: bool) -> Answer:
    """Send bytes and read the answer to its end; raises Finding for a hang."""
    try:
        with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as peer:
            with suppress(ConnectionError):  # refused while still being sent
                peer.sendall(sent)
            if not is_whole:
                _show_the_end(peer)
            return _read(peer, method)
    except TimeoutError as error:
        raise Finding("no answer in time") from error


def _show_the_end(peer: socket.socket) -> None:
    peer.settimeout(PATIENCE_SECONDS)
    with suppress(OSError):
        peer.recv(1, socket.MSG_PEEK)
    with suppress(OSError):
        peer.shutdown(socket.SHUT_WR)
    peer.settimeout(DEADLINE_SECONDS)


def _read(peer: socket.socket, method: str) -> Answer:
    response = HTTPResponse(peer, method=method)
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=headers, body=response.read())
    except TimeoutError:
        raise
    except (HTTPException, OSError):
        return Answer(headers={})
    finally:
        response.close()


def check_answer(
    answer: Answer, *, method: str, is_whole: bool, size_bytes: int
) -> None:
    """Raise Finding for an answer that no request, however bad, may have."""
    if answer.status >= 500:
        raise Finding(f"{answer.status} {answer.body[:300]!r}")
    if b"Traceback" in answer.body:
        raise Finding("a traceback in the answer")
    # What is left unread of a long body resets the connection, and its answer with it.
    if is_whole and not answer.status and size_bytes < LONG_BYTES:
        raise Finding("closed without an answer")
    # What the server refuses itself has not reached the application.
    if "x-request-id" not in answer.headers:
        if answer.body and is_whole and not _is_guards(answer):
            raise Finding(f"{answer.status} without X-Request-Id {answer.body[:200]!r}")
        return
    if answer.headers.get("x-content-type-options") != "nosniff":
        raise Finding("an answer that may be sniffed")
    # An end that was shown early may cost the answer its body.
    if answer.status >= 400 and method != "HEAD" and (is_whole or answer.body):
        _check_problem(answer)


def _is_guards(answer: Answer) -> bool:
    """Tell whether the body guard of the ASGI door has refused it."""
    return answer.headers.get("content-type") == "application/problem+json"


def _check_problem(answer: Answer) -> None:
    problem = answer.json()
    kind = answer.headers.get("content-type")
    if kind != "application/problem+json" or not isinstance(problem, dict):
        raise Finding(f"{answer.status} is no problem: {kind} {answer.body[:200]!r}")
    known = PROBLEMS.get(problem["code"])
    if known is None or known.status not in {None, answer.status}:
        raise Finding(f"{answer.status} with the code {problem['code']!r}")
