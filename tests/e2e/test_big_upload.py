"""A large file through the real server: streamed, capped, and never held in memory."""

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import httpx
import pytest
import requests
from django.db import connection

from jobs.models import Job
from tests.support import ROOT
from tests.support.factories import make_key
from workers.embedded.probes import http_answers
from workers.embedded.processes import free_port, log_tail, wait_until

MIB = 1024**2
GROWTH_ALLOWED = 64 * MIB
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="long.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n"
)
TAIL = b"\r\n--b--\r\n"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("big_upload"),
    pytest.mark.django_db(transaction=True),
]


class Server:
    """One granian with one worker process."""

    def __init__(self, interface: str, folder: Path) -> None:
        self.interface = interface
        self.port = free_port()
        self.media = folder / "media"
        self.log = folder / "granian.log"
        database = connection.settings_dict
        url = " ".join(
            f"{name}='{database[key]}'"
            for name, key in {
                "dbname": "NAME",
                "user": "USER",
                "password": "PASSWORD",
                "host": "HOST",
                "port": "PORT",
            }.items()
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                (
                    *(sys.executable, "-m", "granian", "--interface", interface),
                    *("--host", "127.0.0.1", "--port", str(self.port)),
                    *("--blocking-threads", "8") * (interface == "wsgi"),
                    f"transcribe_platform.{interface}:application",
                ),
                cwd=ROOT,
                env={
                    **os.environ,
                    "DATABASE_URL": url,
                    "MEDIA_ROOT": str(self.media),
                    "MAX_ARRIVING_BODIES": "6",
                    "TMPDIR": str(folder),
                },
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        url = f"http://127.0.0.1:{self.port}/health/ready"
        assert wait_until(lambda: http_answers(url), seconds=30), log_tail(self.log)

    def memory(self, field: str) -> int:
        """Return what the worker process holds (VmRSS) or ever held (VmHWM)."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = 0
        for pid in children.read_text().split():
            status = Path(f"/proc/{pid}/status").read_text()
            (line,) = [row for row in status.splitlines() if row.startswith(field)]
            found = max(found, int(line.split()[1]) * 1024)
        return found

    def files(self) -> list[str]:
        return [str(p) for p in self.media.rglob("*") if p.is_file()]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def running(
    request: Any, tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[Server]:
    started = Server(request.param, tmp_path_factory.mktemp(request.param))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    yield running
    shutil.rmtree(running.media, ignore_errors=True)


class Upload:
    """A POST by hand, so that it can stop anywhere."""

    def __init__(self, server: Server, size: int, key: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        length = len(HEAD) + size + len(TAIL)
        self.socket.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n"
            + (f"Authorization: Bearer {key}\r\n" if key else "").encode()
            + f"Content-Length: {length}\r\n\r\n".encode()
        )

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def answer(self) -> tuple[int, dict[str, Any]]:
        received = b""
        while chunk := self.socket.recv(65536):
            received += chunk
        self.socket.close()
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


def silent_wav(megabytes: int) -> tuple[bytes, int]:
    """Return the header of a WAV of silence, and its whole size."""
    data = megabytes * MIB
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", data + 36, b"WAVE", b"fmt ", 16, 1, 1),
        *(16000, 32000, 2, 16, b"data", data),
    )
    return header, len(header) + data


def send_wav(server: Server, key: str, megabytes: int) -> tuple[int, dict[str, Any]]:
    header, size = silent_wav(megabytes)
    upload = Upload(server, size, key)
    upload.send(HEAD, header, *(bytes(MIB) for _ in range(megabytes)), TAIL)
    return upload.answer()


def test_a_large_file_is_taken_in_flat_memory(server: Server) -> None:
    # Five times what it may grow by.
    megabytes = 320
    _, key = make_key()
    status, _ = send_wav(server, key, 1)  # what is loaded once is not growth
    assert status == 202, log_tail(server.log)
    before = server.memory("VmRSS")

    status, job = send_wav(server, key, megabytes)

    grown = server.memory("VmHWM") - before
    assert status == 202, job
    assert grown < GROWTH_ALLOWED, f"{grown // MIB} MiB"
    assert job["audio"]["size_bytes"] == megabytes * MIB + 44
    assert job["duration_seconds"] == megabytes * MIB / 32000
    stored = {server.media / job.upload for job in Job.objects.all()}
    assert {Path(path) for path in server.files()} == stored


def test_an_abandoned_upload_leaves_nothing(server: Server) -> None:
    _, key = make_key()
    header, size = silent_wav(50)
    upload = Upload(server, size, key)
    upload.send(HEAD, header, *(bytes(MIB) for _ in range(20)))
    if server.media.exists():
        assert wait_until(lambda: server.files() != [], seconds=10)
    upload.socket.close()

    assert wait_until(lambda: server.files() == [], seconds=10), server.files()
    assert Job.objects.count() == 0
    status, _ = send_wav(server, key, 1)
    assert status == 202


def test_what_is_refused_by_its_head_is_not_read(server: Server) -> None:
    _, key = make_key()

    too_large = Upload(server, 3 * 1024 * MIB, key).answer()
    no_key = Upload(server, 1024 * MIB).answer()

    assert (too_large[0], too_large[1]["code"]) == (413, "upload_too_large")
    assert (no_key[0], no_key[1]["code"]) == (401, "key_missing")
    assert server.files() == []


def test_an_upload_refused_for_another_field_is_removed(server: Server) -> None:
    _, key = make_key()
    header, size = silent_wav(5)
    field = b'\r\n--b\r\nContent-Disposition: form-data; name="priority"\r\n\r\nasap'
    upload = Upload(server, size + len(field), key)
    upload.send(HEAD, header, bytes(5 * MIB), field, TAIL)

    status, problem = upload.answer()

    assert (status, problem["code"]) == (400, "field_invalid")
    # The file is closed with the response, once that is sent.
    assert wait_until(lambda: server.files() == [], seconds=5), server.files()
    assert Job.objects.count() == 0


def test_a_client_that_stops_halfway_and_listens_is_told(server: Server) -> None:
    _, key = make_key()
    header, size = silent_wav(5)
    upload = Upload(server, size, key)
    upload.send(HEAD, header, bytes(MIB))
    upload.socket.shutdown(socket.SHUT_WR)

    received = upload.socket.recv(65536)
    upload.socket.close()

    # Over ASGI the server hears of the end before Django does, and answers itself.
    assert received.split()[1] in {b"400", b"500"}
    assert wait_until(lambda: server.files() == [], seconds=10)
    assert Job.objects.count() == 0


def test_bodies_that_do_not_arrive_leave_threads_for_others(server: Server) -> None:
    _, key = make_key()
    _, other = make_key()
    # More than the places for arriving bodies: of those, one tenant may hold four.
    refused = 4
    slow = [Upload(server, MIB, key) for _ in range(8)]
    for upload in slow:
        upload.send(HEAD)
    sockets = [upload.socket for upload in slow]
    assert wait_until(lambda: len(_readable(sockets)) == refused, seconds=20)

    me = Request(
        f"http://127.0.0.1:{server.port}/v1/me",
        headers={"Authorization": f"Bearer {other}"},
    )
    with urlopen(me, timeout=20) as answer:
        assert answer.status == 200

    assert len(_readable(sockets)) == refused
    for refusal in _readable(sockets):
        assert refusal.recv(65536).startswith(b"HTTP/1.1 503")
    for upload in slow:
        upload.socket.close()
    assert wait_until(lambda: server.files() == [], seconds=10)


def _readable(sockets: list[socket.socket]) -> list[socket.socket]:
    return select.select(sockets, [], [], 0)[0]


class RawUpload(Upload):
    """The same at Deepgram's own door: the audio is the body."""

    def __init__(self, server: Server, size: int, key: str = "") -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.socket.sendall(
            b"POST /v1/listen?model=nova-3&callback=https://a.example.com/ HTTP/1.1\r\n"
            b"Host: localhost\r\nConnection: close\r\nContent-Type: audio/wav\r\n"
            + (f"Authorization: Token {key}\r\n" if key else "").encode()
            + f"Content-Length: {size}\r\n\r\n".encode()
        )


def test_deepgrams_door_streams_its_body_too(server: Server) -> None:
    _, key = make_key()
    header, size = silent_wav(64)
    upload = RawUpload(server, size, key)
    upload.send(header, *(bytes(MIB) for _ in range(64)))

    status, body = upload.answer()

    job = Job.objects.get()
    assert (status, body) == (200, {"request_id": str(job.pk)})
    assert (job.size_bytes, job.mode) == (size, "async")


def test_deepgrams_door_refuses_by_the_head_and_in_its_own_words(
    server: Server,
) -> None:
    _, key = make_key()

    too_large = RawUpload(server, 2 * 1024 * MIB + 1, key).answer()
    no_key = RawUpload(server, 1024 * MIB).answer()

    assert (too_large[0], too_large[1]["err_code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert (no_key[0], no_key[1]["err_code"]) == (401, "INVALID_AUTH")
    assert server.files() == []


def test_deepgrams_door_keeps_nothing_of_a_body_that_breaks_off(server: Server) -> None:
    _, key = make_key()
    header, size = silent_wav(20)
    upload = RawUpload(server, size, key)
    upload.send(header, *(bytes(MIB) for _ in range(10)))
    upload.socket.close()

    assert wait_until(lambda: server.files() == [], seconds=10), server.files()
    assert Job.objects.count() == 0


UNWANTED = {
    "no session there": ("POST /v1/live", "full", 426),
    "no such path": ("POST /v1/nothing", "full", 404),
    "no such path, no key": ("POST /nothing", "", 404),
    "no key": ("POST /v1/jobs", "", 401),
    "scope missing": ("POST /v1/jobs", "narrow", 403),
    "listen without a key": ("POST /v1/listen", "", 401),
    "no such method": ("PUT /v1/jobs", "full", 405),
    "no form taken": ("POST /v1/api-keys", "full", 415),
    "no body taken": (
        "POST /v1/jobs/0197b2f0-0000-7000-8000-000000000000",
        "full",
        405,
    ),
    "a page": ("POST /docs", "", 405),
    "health": ("POST /health/ready", "", 405),
    "the console": ("POST /console/", "", 405),
    "a static file": ("POST /static/platform/icon.svg", "", 405),
    "a login": ("POST /admin/login/", "", 413),
    "a list of the admin": ("POST /admin/jobs/job/", "", 413),
}


class UnwantedUpload(Upload):
    """A form of 200 MB that nobody asked for, by its head; `sent` bytes of it follow."""

    def __init__(self, server: Server, line: str, key: str, *extra: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        lines = (
            f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close".encode(),
            b"Content-Type: multipart/form-data; boundary=b",
            b"Cookie: csrftoken=" + b"a" * 32,
            b"Content-Length: 200000000",
            *((f"Authorization: Bearer {key}".encode(),) if key else ()),
        )
        self.socket.sendall(b"\r\n".join((*lines, *extra, b"", b"")))

    def status(self) -> int:
        received = self.socket.recv(65536)
        self.socket.close()
        return int(received.split()[1])


def test_a_body_that_is_not_wanted_is_answered_by_its_head(
    server: Server, subtests: Any
) -> None:
    keys = {"": "", "full": make_key()[1], "narrow": make_key(scopes=())[1]}
    elsewhere = 421  # over WSGI there are no sockets
    for name, (line, key, status) in UNWANTED.items():
        with subtests.test(name):
            # Neither asked for nor waited for: the answer is the first that comes.
            plain = UnwantedUpload(server, line, keys[key]).status()
            expecting = UnwantedUpload(
                server, line, keys[key], b"Expect: 100-continue"
            ).status()

            wanted = (
                elsewhere if (status, server.interface) == (426, "wsgi") else status
            )
            assert (plain, expecting) == (wanted, wanted), log_tail(server.log)
    assert server.files() == []


def test_a_request_without_a_body_of_its_own_does_not_read_one(server: Server) -> None:
    _, key = make_key()

    status = UnwantedUpload(server, "GET /v1/me", key).status()

    # Over ASGI only a body that is read, or ended, shows that the client has left.
    assert status == (200 if server.interface == "wsgi" else 413)


@pytest.mark.parametrize("client", ["httpx", "requests", "curl"])
def test_clients_that_still_send_see_the_answer(server: Server, client: str) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/live"
    _, key = make_key()
    bearer = f"Bearer {key}"

    for _ in range(3):
        assert CLIENTS[client](url, bearer) in {426, 421}


def _send_with_httpx(url: str, bearer: str) -> int:
    with httpx.Client(trust_env=False, timeout=10) as client:
        headers = {"Authorization": bearer}
        return client.post(url, content=bytes(30 * MIB), headers=headers).status_code


def _send_with_requests(url: str, bearer: str) -> int:
    with requests.Session() as client:
        client.trust_env = False
        headers = {"Authorization": bearer}
        answer = client.post(url, data=bytes(30 * MIB), headers=headers, timeout=10)
        return answer.status_code


def _send_with_curl(url: str, bearer: str) -> int:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    words = ("--silent", "--noproxy", "*", "--header", f"Authorization: {bearer}")
    told = ("--output", os.devnull, "--write-out", "%{http_code}")
    sent = ("--header", "Expect:", "--data-binary", "@-", url)
    ran = subprocess.run(
        ("curl", *words, *told, *sent),
        input=bytes(30 * MIB),
        capture_output=True,
        timeout=20,
        check=False,
    )
    return int(ran.stdout)


CLIENTS = {
    "httpx": _send_with_httpx,
    "requests": _send_with_requests,
    "curl": _send_with_curl,
}


@pytest.mark.parametrize("size", [100, 100 * MIB])
@pytest.mark.parametrize(
    ("is_valid", "status"), [(False, b" 401 "), (True, b" 100 ")], ids=["401", "100"]
)
def test_the_key_is_checked_before_a_client_is_told_to_continue(
    server: Server, is_valid: bool, status: bytes, size: int
) -> None:
    key = make_key()[1] if is_valid else "tp_live_nobody"
    head = (
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nExpect: 100-continue\r\n"
        f"Content-Length: {size}\r\nAuthorization: Bearer {key}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(head.encode())

        line, _, _ = client.recv(65536).partition(b"\r\n")

    assert status in line
    assert server.files() == []
