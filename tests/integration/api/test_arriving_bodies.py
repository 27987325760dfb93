"""Bodies that are slow to arrive leave threads and connections to all others."""

import io
import json
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from jobs.concurrency import thread_limits
from jobs.concurrency.fair_semaphore import FairSemaphore
from jobs.models import Job
from tests.support.api import assert_problem
from tests.support.factories import make_key, make_wav
from transcribe_platform.wsgi import application

pytestmark = pytest.mark.django_db(transaction=True)
BODY = json.dumps({"audio_url": "https://audio.example.com/a.wav"}).encode()


@pytest.fixture
def gate(monkeypatch):
    gate = FairSemaphore(4)
    monkeypatch.setattr(thread_limits, "arriving_bodies", lambda: gate)
    return gate


def wav():
    return SimpleUploadedFile("a.wav", make_wav(), "audio/wav")


class Stream(io.BytesIO):
    """What a server gives an application to read from; notes how that reads."""

    def __init__(self, body, gate):
        super().__init__(body)
        self.gate, self.seen = gate, []

    def read(self, size=-1):
        self.seen.append((self.gate._acquired.total(), connection.connection))
        return super().read(size)


def send(stream, *, path="/v1/jobs", key="", **headers):
    answered = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "wsgi.input": stream,
        "wsgi.url_scheme": "http",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(BODY)),
        "HTTP_AUTHORIZATION": f"Bearer {key}",
        **headers,
    }
    response = application(environ, lambda status, _headers: answered.append(status))
    body = b"".join(response)
    response.close()
    return int(answered[0][:3]), body


def test_a_body_holds_a_place_and_no_connection_while_it_arrives(gate):
    _, key = make_key()
    stream = Stream(BODY, gate)

    status, _ = send(stream, key=key)

    assert status == 202
    assert stream.seen == [(1, None)]
    assert gate._acquired.total() == 0


def test_a_tenant_whose_bodies_do_not_arrive_leaves_room_for_others(gate):
    slow, key = make_key()
    _, other = make_key()
    held = [gate.acquire(slow.tenant_id) for _ in range(4)]
    stream = Stream(BODY, gate)

    status, body = send(stream, key=key)
    others_status, _ = send(Stream(BODY, gate), key=other)

    assert held == [True, True, True, False]
    assert (status, json.loads(body)["code"]) == (503, "service_unavailable")
    assert stream.seen == []
    assert others_status == 202
    assert Job.objects.count() == 1


def test_no_more_uploads_are_examined_than_leave_threads_for_others(gate, api):
    assert all(gate.acquire(api.tenant.pk) for _ in range(3))

    put_off = api.form({"file": wav()})
    gate.release(api.tenant.pk)
    taken = api.form({"file": wav()})

    problem = assert_problem(put_off, 503, "service_unavailable")
    assert "being checked" in problem["detail"]
    assert put_off.headers["Retry-After"] == "5"
    assert taken.status_code == 202
    assert (Job.objects.count(), gate._acquired.total()) == (1, 2)


def test_a_body_that_breaks_off_gives_its_place_back(gate):
    _, key = make_key()

    status, body = send(Stream(BODY[:9], gate), key=key)

    assert (status, json.loads(body)["code"]) == (400, "body_truncated")
    assert gate._acquired.total() == 0


def test_whoever_shows_no_key_shares_a_place_with_all_who_do_not(gate, client):
    login = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
    assert all(gate.acquire("") for _ in range(3))
    stream = Stream(BODY, gate)

    status, body = send(
        stream, path="/admin/login/", HTTP_COOKIE="csrftoken=" + "a" * 32, **login
    )

    assert status == 503
    assert b"service_unavailable" in body
    assert stream.seen == []
    assert gate.acquire(uuid4())


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/jobs/job/"])
def test_a_page_keeps_no_file_of_a_form(gate, settings, tmp_path, path):
    client = Client(enforce_csrf_checks=True)  # which is what reads the form
    settings.MEDIA_ROOT = tmp_path
    settings.INCOMING_ROOT = tmp_path / "incoming"
    client.cookies["csrftoken"] = "a" * 32

    answer = client.post(path, {"file": wav(), "other": wav()})

    assert answer.status_code == 403
    assert list(tmp_path.rglob("*")) == []


def test_a_page_refuses_a_large_form_unread(gate, admin_client):
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
    cookies = "; ".join(f"{it.key}={it.value}" for it in admin_client.cookies.values())
    for cookie, length, status in (
        ("", 64 * 1024 + 1, 413),
        (cookies, 64 * 1024 + 1, 403),  # read, and no token was in it
        (cookies, 1024**2 + 1, 413),
    ):
        stream = Stream(b"x" * 100, gate)

        answered, _ = send(
            stream,
            path="/admin/jobs/job/",
            CONTENT_LENGTH=str(length),
            HTTP_COOKIE=f"csrftoken={'a' * 32}; {cookie}",
            **form,
        )

        assert answered == status
        assert bool(stream.seen) == (status == 403)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_request_whose_method_has_no_body_reads_none(gate, method):
    _, key = make_key()
    stream = Stream(b"{bad", gate)

    status, _ = send(stream, path="/v1/me", key=key, REQUEST_METHOD=method)

    assert status in {200, 204}
    assert stream.seen == []
