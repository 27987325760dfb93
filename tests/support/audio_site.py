"""A web server that has audio and takes callbacks."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Site:
    """A web server that has audio and takes callbacks."""

    url: str
    audio: bytes
    received: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)


class SiteHandler(http.server.BaseHTTPRequestHandler):
    """Answer by path; anything that is not listed is audio."""

    site: Site

    def do_GET(self) -> None:
        status, body, headers = {
            "/expired.wav": (403, b"", {}),
            "/missing.wav": (404, b"", {}),
            "/down.wav": (503, b"", {}),
            "/loop.wav": (302, b"", {"location": self.path}),
            "/page.html": (200, b"<html></html>", {"content-type": "text/html"}),
            "/text.wav": (200, b"this is not audio", {}),
        }.get(self.path, (200, self.site.audio, {}))
        self._send(status, body, **headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.site.received.append(
            {
                "method": self.command,
                "path": self.path,
                "authorization": self.headers["authorization"],
                "signature": self.headers["webhook-signature"],
                "body": json.loads(body),
            }
        )
        self._send(self.site.refusals.pop() if self.site.refusals else 200, b"")

    do_PUT = do_POST

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serving_audio(audio: bytes) -> Iterator[Site]:
    """Run a web server for the block."""
    site = Site(url="", audio=audio)
    handler = type("Handler", (SiteHandler,), {"site": site})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield site
        server.shutdown()
        thread.join()
