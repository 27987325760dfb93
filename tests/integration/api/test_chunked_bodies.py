"""Bodies of unknown length, sent to a real ASGI process through a raw socket."""

import json
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.models import Batch, Job, Region
from tests.support.asgi_process import AsgiProcess
from tests.support.factories import make_key, make_wav
from tests.support.waiting import eventually
from transcripts.models import Transcript

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("asgi"),
]
LIMIT = 300_000
SLOTS = 4
BOUNDARY = "b0undary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
MANIFEST = b'{"audio_url": "https://audio.example.com/a.wav"}\n' * 3


def form(audio: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="file"; filename="a.wav"'
    return (
        f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode()
        + audio
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


WAV = make_wav(1.0)
# What each route takes: its content type and a body.
ROUTES = {
    "/v1/listen": ("audio/wav", WAV),
    "/v1/jobs": (FORM, form(WAV)),
    "/v1/transcribe": (FORM, form(WAV)),
    "/v1/batches": ("application/x-ndjson", MANIFEST),
}


@dataclass
class Web:
    """The process and the folder of its uploads."""

    process: AsgiProcess
    media: Path

    def files(self) -> list[Path]:
        return [path for path in self.media.rglob("*") if path.is_file()]

    def connect(self, path: str, content_type: str, key: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.process.port), timeout=30)
        head = {
            "Host": "localhost",
            "Authorization": f"Bearer {key}",
            "Content-Type": content_type,
            "Transfer-Encoding": "chunked",
            "Connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        client.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return client

    def post(
        self, path: str, content_type: str, chunks: Iterable[bytes], key: str
    ) -> tuple[int, dict[str, Any]]:
        """Send the chunks and a last one, and return the status and the JSON."""
        with self.connect(path, content_type, key) as client:
            try:
                for chunk in chunks:
                    client.sendall(frame(chunk))
                client.sendall(b"0\r\n\r\n")
            except OSError:
                pass  # answered before the end
            return read_response(client)


def frame(chunk: bytes) -> bytes:
    return f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"


def split(body: bytes, size: int = 5_000) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def read_response(client: socket.socket) -> tuple[int, dict[str, Any]]:
    received = b""
    while chunk := client.recv(65536):
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    if not head:
        return 0, {}
    return int(head.split()[1]), json.loads(body) if body else {}


@pytest.fixture(scope="module")
def started(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("chunked")
    process = AsgiProcess(
        folder,
        MEDIA_ROOT=str(folder / "media"),
        UPLOAD_MAX_BYTES=str(LIMIT),
        MANIFEST_MAX_BYTES=str(LIMIT),
        MAX_ARRIVING_BODIES=str(SLOTS),
        DEEPGRAM_API_KEY="test-key",
        EGRESS_ALLOW="127.0.0.0/8",
    ).wait()
    yield Web(process, folder / "media")
    process.stop()


@pytest.fixture
def web(started: Web, transactional_db: None, emulator: Any) -> Web:
    for path in started.files():
        path.unlink()
    Region.objects.create(name="local", base_url=emulator.url)
    return started


@pytest.fixture
def key(web: Web) -> str:
    return make_key()[1]


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_of_unknown_length_is_accepted(web, key, path):
    content_type, body = ROUTES[path]

    status, answer = web.post(path, content_type, split(body), key)

    assert status in {200, 202}, answer
    if path == "/v1/batches":
        assert Batch.objects.get().total == 3
    else:
        job = Job.objects.get()
        assert (job.size_bytes, job.duration_seconds) == (len(WAV), 1.0)
    assert Transcript.objects.count() == (path in {"/v1/listen", "/v1/transcribe"})


def test_json_of_unknown_length_is_accepted(web, key):
    body = json.dumps({"audio_url": "https://audio.example.com/a.wav"}).encode()

    status, answer = web.post("/v1/jobs", "application/json", split(body, 9), key)

    assert status == 202, answer
    assert str(Job.objects.get().pk) == answer["id"]


@pytest.mark.parametrize("broken", [b"", b"1000\r\nhalf", b"zz\r\nnot a size"])
@pytest.mark.parametrize("path", ROUTES)
def test_an_aborted_body_leaves_nothing_behind(web, key, path, broken):
    content_type, body = ROUTES[path]

    # More often than there are slots for arriving bodies of a tenant.
    for _ in range(SLOTS + 1):
        with web.connect(path, content_type, key) as client:
            client.sendall(frame(body[:-30]) + broken)
            client.shutdown(socket.SHUT_WR)
            status, _ = read_response(client)
            assert status in {0, 400, 422}, status

    eventually(lambda: not web.files())
    assert not Job.objects.exists()
    assert not Batch.objects.exists()
    status, answer = web.post(path, content_type, split(body), key)
    assert status in {200, 202}, answer


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_beyond_the_limit_is_rejected(web, key, path):
    content_type, body = ROUTES[path]
    # A form may have 2 MiB of other fields.
    endless = body[:200] + b"x" * (LIMIT + 3 * 1024**2)

    status, answer = web.post(path, content_type, split(endless, 60_000), key)

    assert status == 413, answer
    eventually(lambda: not web.files())
    assert not Job.objects.exists()


@pytest.mark.parametrize("path", ROUTES)
def test_an_empty_body_is_rejected(web, key, path):
    status, _ = web.post(path, ROUTES[path][0], [], key)

    assert status == 400
    assert not web.files()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [
        ("/v1/listen", "audio/wav", 401),
        ("/v1/jobs", FORM, 401),
        ("/v1/batches", "text/csv", 401),
        ("/v1/batches", "audio/wav", 415),
        ("/v1/jobs", "audio/wav", 415),
        ("/admin/login/", "application/x-www-form-urlencoded", 411),
    ],
)
def test_a_rejected_body_is_not_read(web, key, path, content_type, status):
    given = "tp_live_wrong" if status == 401 else key

    with web.connect(path, content_type, given) as client:
        client.sendall(frame(b"x" * 100))  # and the rest never comes
        answered = client.recv(65536)

    assert answered.split()[1] == str(status).encode()
    assert not web.files()
