"""One Idempotency-Key and requests at the same time, some of which die."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.db import connection, connections, transaction

from jobs import services
from jobs.models import IdempotencyKey, Job
from jobs.rest import idempotency
from tests.support.api import Api, assert_nothing_written, assert_problem, files_in
from tests.support.factories import make_wav

pytestmark = pytest.mark.django_db(transaction=True)

KEY = {"Idempotency-Key": "k"}
JSON = {"audio_url": "https://audio.example.com/a.wav"}
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n" + make_wav() + b"\r\n--b--\r\n"
)


@pytest.fixture
def api():
    return Api()


class Body(io.BytesIO):
    """A body that comes only so far until it is let go on."""

    def __init__(self, content):
        super().__init__(content)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def read(self, size=-1):
        self.begun.set()
        assert self.go_on.wait(30)
        return super().read(size)


def send_form(api, body, headers=KEY):
    environ = {
        "wsgi.input": body,
        "CONTENT_LENGTH": str(len(FORM)),
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
    }
    return api.client.generic(
        "POST", "/v1/jobs", headers=api.headers(headers), **environ
    )


@contextmanager
def uploading(api, content=FORM):
    """Upload in a thread, the body held back."""
    body = Body(content)

    def send():
        try:
            return send_form(api, body)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        try:
            assert body.begun.wait(30)
            yield SimpleNamespace(
                finish=lambda: (body.go_on.set(), sent.result(timeout=30))[1]
            )
        finally:
            body.go_on.set()


def test_a_repeat_of_an_upload_under_way_is_turned_away_unread(api, media):
    unread = io.BytesIO(FORM)

    with uploading(api) as first:
        repeat = send_form(api, unread)
        as_json = api.post("/v1/jobs", JSON, KEY)
        answer = first.finish()
    after = send_form(api, io.BytesIO(FORM))

    for refused in (repeat, as_json):
        assert_problem(refused, 409, "request_in_flight")
        assert refused.headers["Retry-After"] == "1"
    assert unread.tell() == 0
    assert (answer.status_code, after.status_code) == (202, 202)
    assert after.headers["Idempotency-Replayed"] == "true"
    assert after.json() == answer.json()
    assert Job.objects.count() == IdempotencyKey.objects.count() == 1
    assert len(files_in(media)) == 1


def test_other_keys_and_tenants_pass_meanwhile(api):
    with uploading(api) as first:
        others = [
            send_form(api, io.BytesIO(FORM), {"Idempotency-Key": "other"}),
            send_form(api, io.BytesIO(FORM), {}),
            send_form(Api(), io.BytesIO(FORM)),
            api.post("/v1/jobs", JSON),
        ]
        first.finish()

    assert [answer.status_code for answer in others] == [202] * 4
    assert Job.objects.count() == 5


def test_an_upload_that_fails_frees_its_key(api, media):
    with uploading(api, FORM[:60]) as first:
        assert_problem(first.finish(), 400, "body_truncated")
    assert_nothing_written(media)

    answer = send_form(api, io.BytesIO(FORM))

    assert answer.status_code == 202
    assert "Idempotency-Replayed" not in answer.headers


HOLD = """
import sys, time, types, pathlib
from django.conf import settings
settings.configure(INCOMING_ROOT=pathlib.Path(sys.argv[1]))
sys.modules["jobs.models"] = types.SimpleNamespace(Tenant=object)
from jobs.concurrency.upload_lock import reject_concurrent_repeats
tenant = types.SimpleNamespace(pk=sys.argv[2])
with reject_concurrent_repeats(tenant=tenant, route="submit", key="k", is_upload=True):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("repeat", ["upload", "json"])
def test_a_key_is_free_once_its_process_was_killed(api, settings, repeat):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, settings.INCOMING_ROOT, str(api.tenant.pk)],
        stdout=subprocess.PIPE,
        cwd=settings.BASE_DIR,
    )

    def post():
        if repeat == "json":
            return api.post("/v1/jobs", JSON, KEY)
        return send_form(api, io.BytesIO(FORM))

    assert process.stdout.readline() == b"held\n"
    assert_problem(post(), 409, "request_in_flight")
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    process.stdout.close()

    assert post().status_code == 202
    assert Job.objects.count() == 1
    assert list(settings.INCOMING_ROOT.glob("*.key")) == []


def test_of_fifty_parallel_uploads_one_is_taken_at_a_time(api, media):
    start = threading.Barrier(50)

    def send(_number):
        start.wait(timeout=30)
        try:
            return send_form(api, io.BytesIO(FORM))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))

    codes = {answer.status_code for answer in answers}
    assert codes <= {202, 409}
    assert len({a.json()["id"] for a in answers if a.status_code == 202}) == 1
    assert Job.objects.count() == IdempotencyKey.objects.count() == 1
    assert len(files_in(media)) == 1


def test_a_repeat_does_not_wait_for_ever(api, monkeypatch):
    monkeypatch.setattr(idempotency, "LOCK_SECONDS", 0.1)
    name = f"{api.tenant.pk}\nsubmit\nk".encode()
    number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)

    def post():
        try:
            return api.post("/v1/jobs", JSON, KEY)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
            refused = pool.submit(post).result(timeout=30)
        freed = pool.submit(post).result(timeout=30)

    assert_problem(refused, 409, "request_in_flight")
    assert freed.status_code == 202
    assert Job.objects.count() == 1


def test_a_server_that_dies_in_its_transaction_leaves_the_key_free(api, monkeypatch):
    """What PostgreSQL sees of a ``kill -9``: the connection is gone."""
    inside, submit_job = threading.Event(), services.submit_job

    def submit_and_die(**draft):
        job = submit_job(**draft)
        inside.set()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return job

    def post():
        try:
            return api.post("/v1/jobs", JSON, KEY)
        finally:
            connections.close_all()

    monkeypatch.setattr(services, "submit_job", submit_and_die)
    with ThreadPoolExecutor(1) as pool:
        dead = pool.submit(post).result(timeout=30)
        assert_problem(dead, 503, "service_unavailable")
        assert inside.is_set()
        assert (Job.objects.count(), IdempotencyKey.objects.count()) == (0, 0)
        monkeypatch.setattr(services, "submit_job", submit_job)
        began = time.monotonic()
        again = pool.submit(post).result(timeout=30)

    assert again.status_code == 202
    assert time.monotonic() - began < idempotency.LOCK_SECONDS
    assert Job.objects.count() == 1


def test_only_the_keys_lock_is_waited_for_so_shortly(api, monkeypatch):
    found, submit_job = [], services.submit_job

    def submit(**draft):
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            found.extend(cursor.fetchone())
        return submit_job(**draft)

    monkeypatch.setattr(services, "submit_job", submit)

    assert api.post("/v1/jobs", JSON, KEY).status_code == 202
    assert found == ["0"]
