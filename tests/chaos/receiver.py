"""The customer's host: serves one recording, takes webhooks and checks each of them."""

import io
import json
import math
import struct
import threading
import wave
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

AUDIO = "tone.wav"


@dataclass(slots=True)
class Inbox:
    """What came in, by job: how often each event id arrived, and what was forged."""

    url: str = ""
    secret: str = ""
    events: dict[str, Counter[str]] = field(default_factory=dict)
    types: dict[str, set[str]] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def audio_url(self) -> str:
        return f"{self.url}/{AUDIO}"

    @property
    def hook_url(self) -> str:
        return f"{self.url}/hook"

    def take(self, headers: dict[str, str], body: bytes) -> bool:
        """Note one message; return whether its signature holds."""
        event = headers.get("webhook-id", "")
        try:
            Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError as error:
            with self._lock:
                self.invalid.append(f"{event}: {error}")
            return False
        message = json.loads(body)
        job = message["data"]["id"]
        with self._lock:
            self.events.setdefault(job, Counter())[event] += 1
            self.types.setdefault(job, set()).add(message["type"])
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512


@contextmanager
def listening() -> Iterator[Inbox]:
    """Serve on a free loopback port for the block."""
    inbox, tone = Inbox(), make_tone()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(204 if inbox.take(headers, body) else 401)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "audio/wav")
            self.send_header("content-length", str(len(tone)))
            self.end_headers()
            self.wfile.write(tone)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # whoever called was killed
                self.close_connection = True

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        inbox.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield inbox
        finally:
            server.shutdown()
            thread.join()


def make_tone(seconds: float = 2.0, rate: int = 8000) -> bytes:
    """Return a short WAV that is audible."""
    samples = (
        int(8000 * math.sin(2 * math.pi * 440 * n / rate))
        for n in range(int(seconds * rate))
    )
    packed = io.BytesIO()
    with wave.open(packed, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"".join(struct.pack("<h", each) for each in samples))
    return packed.getvalue()
