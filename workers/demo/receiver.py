"""The receiver of the demo: verifies webhooks and serves a recording.

Verifies signatures as specified by Standard Webhooks, without the platform's code, so
that any conforming receiver accepts the same messages.
"""

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workers.demo import corpus

TOLERANCE_SECONDS = 300
_NUMBER = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One received webhook."""

    type: str
    job_id: str
    data: dict[str, Any]
    is_genuine: bool


@dataclass(slots=True)
class Inbox:
    """The received webhooks; `secret` is set once the platform runs."""

    secret: str = ""
    received: list[Received] = field(default_factory=list)

    def receive(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Store a webhook and return whether its signature is valid."""
        is_genuine = is_signed(headers, body, self.secret, now=time.time())
        message = json.loads(body)
        data = message["data"]
        self.received.append(
            Received(
                type=message["type"],
                job_id=data.get("id", ""),
                data=data,
                is_genuine=is_genuine,
            )
        )
        return is_genuine


def is_signed(
    headers: Mapping[str, str], body: bytes, secret: str, *, now: float
) -> bool:
    """Return whether a message has a valid, recent Standard Webhooks signature."""
    stamp = headers.get("webhook-timestamp", "")
    is_number = _NUMBER.fullmatch(stamp)
    if not is_number or abs(now - int(stamp)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
    digest = hmac.new(key, content, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    signatures = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected, signature) for signature in signatures)


@contextmanager
def listening(inbox: Inbox) -> Iterator[str]:
    """Serve on a free loopback port; yield the base URL."""

    class Handler(_Handler):
        """Handles requests for this inbox."""

        box = inbox

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    box: Inbox

    def do_POST(self) -> None:
        """Receive a webhook: 204 if its signature is valid, or else 401."""
        length = self.headers.get("content-length", "")
        body = self.rfile.read(int(length) if _NUMBER.fullmatch(length) else 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        is_genuine = self.box.receive(headers, body)
        status = HTTPStatus.NO_CONTENT if is_genuine else HTTPStatus.UNAUTHORIZED
        self.send_response(status)
        self.end_headers()

    def do_GET(self) -> None:
        """Serve a recording by its file name."""
        paths = {
            recording.path.name: recording.path for recording in corpus.recordings()
        }
        path = paths.get(self.path.lstrip("/"))
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        content = path.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: the demo displays the webhooks."""
