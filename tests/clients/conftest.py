"""The platform and the programs with which clients are generated and run."""

import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.platform_run import Run
from workers.demo.corpus import FOLDER
from workers.embedded.binaries import scratch_folder

SPEECH = FOLDER / "health.wav"


@pytest.fixture(scope="session")
def audio_url() -> Iterator[str]:
    """Serve the speech, and return its URL."""

    class Audio(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = SPEECH.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Audio) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/meeting.wav"
        server.shutdown()


@pytest.fixture(scope="session")
def platform(audio_url: str) -> Iterator[dict[str, Any]]:
    """Run the platform, and return its URLs and a key."""
    folder = scratch_folder("transcribe-clients-")
    run = Run(folder / "data", EGRESS_ALLOW=urlsplit(audio_url).netloc)
    try:
        yield run.ready()
    finally:
        run.process.terminate()
        run.process.wait(timeout=60)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def audio() -> Path:
    """Return the path of the speech."""
    return SPEECH
