"""A real emulator process, the official SDK in front of it, a web server beside it."""

import http.server
import importlib
import io
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
import warnings
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from deepgram import DeepgramClient, DeepgramClientEnvironment

from tests.support import ROOT

with warnings.catch_warnings():
    # Loaded on first use, the SDK names classes that websockets has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("deepgram.listen.v1.client")

READY_SECONDS = 30
SIDE_KEY = "side-key"


@dataclass
class Process:
    """A running emulator and what can be asked of it."""

    url: str
    popen: subprocess.Popen[bytes]
    http: httpx.Client

    def tell(self, **body: Any) -> dict[str, Any]:
        answer = self.http.post("/__emu__/faults", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stats(self) -> dict[str, Any]:
        return self.http.get("/__emu__/stats").json()

    def log(self, **query: str) -> list[dict[str, Any]]:
        return self.http.get("/__emu__/log", params=query).json()["requests"]

    def forget(self) -> None:
        self.http.delete("/__emu__/faults")
        self.http.delete("/__emu__/log")

    def client(self, key: str = "test-key") -> DeepgramClient:
        environment = DeepgramClientEnvironment(
            base=self.url,
            production=self.url.replace("http", "ws"),
            agent=self.url,
            agent_rest=self.url,
        )
        return DeepgramClient(
            api_key=key, environment=environment, httpx_client=self.http, max_retries=0
        )


@pytest.fixture(scope="session")
def launch(tmp_path_factory) -> Iterator[Callable[..., Process]]:
    """Return a function that starts an emulator and returns once it is ready."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        ready = tmp_path_factory.mktemp("emulator") / "ready.json"
        command = [sys.executable, "-m", "workers.emulator", "--port", "0"]
        popen = subprocess.Popen(
            [*command, "--ready-file", str(ready), *arguments], cwd=ROOT
        )
        eventually(lambda: ready.exists() or popen.poll() is not None, READY_SECONDS)
        url = json.loads(ready.read_text())["url"]
        http = httpx.Client(base_url=url, trust_env=False, timeout=60)
        started.append(Process(url=url, popen=popen, http=http))
        return started[-1]

    yield start
    for process in started:
        process.http.close()
        process.popen.send_signal(signal.SIGTERM)
        process.popen.wait(5)


@pytest.fixture(scope="session")
def session_emulator(launch) -> Process:
    return launch(
        *("--callback-interval", "0.05", "--callback-retries", "2"),
        *("--projects", f"{SIDE_KEY}=side"),
    )


@pytest.fixture
def emulator(session_emulator) -> Process:
    """The one emulator of the session, as if it had just started."""
    # Some test may have left without its answer.
    eventually(lambda: session_emulator.stats()["in_flight"] == 0)
    session_emulator.forget()
    return session_emulator


@pytest.fixture
def media(emulator) -> Any:
    """The SDK's door to prerecorded audio."""
    return emulator.client().listen.v1.media


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


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site(url="", audio=make_wav(2.0))
    handler = type("Handler", (SiteHandler,), {"site": found})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()


_serial = itertools.count(1)


def make_wav(seconds: float, *, channels: int = 1, rate: int = 8000) -> bytes:
    """Return a WAV that no other test has, so that no count is shared."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as wav:
            wav.setnchannels(channels)
            wav.setsampwidth(2)
            wav.setframerate(rate)
            frame = next(_serial).to_bytes(2, "little") * channels
            wav.writeframes(frame * int(seconds * rate))
        return file.getvalue()


def eventually(is_true: Callable[[], Any], seconds: float = 5) -> None:
    """Return as soon as it is true; fail when the time is over."""
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def wav() -> Callable[..., bytes]:
    return make_wav


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., None]:
    return eventually
