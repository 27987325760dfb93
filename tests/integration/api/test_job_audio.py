"""A job's audio: whole or in part, only for its tenant, never somebody else's URL."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.test import AsyncClient

from jobs.audio import stored_audio
from jobs.concurrency import thread_limits
from jobs.models import Job
from jobs.retention import erasure
from tests.support.api import Api, accepted_job, assert_problem
from tests.support.factories import make_job, make_wav, move_job

SOUND = make_wav(seconds=0.5)


def upload_sound(api: Api, kind: str = "audio/wav", name: str = "Gespräch.wav") -> Job:
    return accepted_job(api.upload(SOUND, name=name, kind=kind))


@pytest.fixture
def path(api: Api) -> str:
    return f"/v1/jobs/{upload_sound(api).pk}/audio"


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_it_is_the_file_as_it_was_uploaded(api, path, monkeypatch):
    monkeypatch.setattr(stored_audio, "CHUNK_BYTES", 1000)

    answer = api.get(path)

    assert answer.status_code == 200
    pieces = list(answer.streaming_content)
    assert b"".join(pieces) == SOUND
    assert {len(chunk) for chunk in pieces[:-1]} == {1000}
    headers = answer.headers
    assert headers["Content-Type"] == "audio/wav"
    assert headers["Content-Length"] == str(len(SOUND))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Disposition"].startswith("attachment; filename")
    assert "Content-Range" not in headers


def test_a_part_of_it(api, path):
    answer = api.get(path, {"Range": "bytes=100-199"})

    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes 100-199/{len(SOUND)}"
    assert answer.headers["Content-Length"] == "100"
    assert body(answer) == SOUND[100:200]


def test_a_part_behind_its_end(api, path):
    answer = api.get(path, {"Range": "bytes=999999-"})

    assert_problem(answer, 416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == f"bytes */{len(SOUND)}"


def test_a_part_of_another_audio_is_answered_with_all_of_this(api, path):
    tag = api.get(path).headers["ETag"]

    same, other = (
        api.get(path, {"Range": "bytes=0-9", "If-Range": it}) for it in (tag, '"no"')
    )

    assert (body(same), body(other)) == (SOUND[:10], SOUND)


def test_whoever_has_it_is_sent_nothing(api, path):
    tag = api.get(path).headers["ETag"]

    answer = api.get(path, {"If-None-Match": tag})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["ETag"] == tag


def test_head_tells_without_sending(api, path):
    answer = api.client.head(path, headers=api.headers({"Range": "bytes=0-9"}))

    assert (answer.status_code, answer.content) == (206, b"")
    assert answer.headers["Content-Range"] == f"bytes 0-9/{len(SOUND)}"


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("audio/mpeg", "audio/mpeg"),
        ("VIDEO/mp4; codecs=x", "video/mp4"),
        ("text/html", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_nothing_is_called_what_a_browser_would_show(api, path, stored, told):
    Job.objects.update(content_type=stored)

    assert api.get(path).headers["Content-Type"] == told


def test_audio_at_a_url_is_not_here_and_nobody_is_sent_there(api):
    job = make_job(api.tenant, audio_url="https://audio.example.com/a.wav?secret=1")

    answer = api.get(f"/v1/jobs/{job.pk}/audio")

    assert "secret" not in str(assert_problem(answer, 404, "audio_not_stored"))
    assert "Location" not in answer.headers


def test_audio_that_is_gone_from_storage_is_not_here(api, path):
    default_storage.delete(Job.objects.get().upload)

    assert_problem(api.get(path), 404, "audio_not_stored")


def test_erased_audio_is_erased(api, path):
    job = move_job(Job.objects.get(), "canceled")
    erasure.erase_job(job=job, actor="admin:ada", now=job.finished_at)

    assert_problem(api.get(path), 410, "erased")


def test_only_its_own_tenant_hears_it(api, path):
    assert_problem(Api().get(path), 404, "not_found")
    assert_problem(api.client.get(path), 401, "key_missing")


def test_who_reads_slowly_is_lent_a_thread_until_the_last_byte(api, path, settings):
    settings.MAX_WAITING_REQUESTS = 1
    thread_limits.waiting_requests.cache_clear()
    first = api.get(path)
    assert_problem(api.get(path), 503, "service_unavailable")

    assert body(first) == SOUND

    assert body(api.get(path)) == SOUND
    thread_limits.waiting_requests.cache_clear()


@pytest.mark.django_db(transaction=True)
def test_on_an_event_loop_no_thread_is_held(settings):
    customer = Api()
    where = f"/v1/jobs/{upload_sound(customer).pk}/audio"
    settings.MAX_WAITING_REQUESTS = 0
    thread_limits.waiting_requests.cache_clear()

    async def read() -> bytes:
        answer = await AsyncClient().get(where, headers=customer.headers())
        return b"".join([chunk async for chunk in answer.streaming_content])

    assert asyncio.run(read()) == SOUND
    thread_limits.waiting_requests.cache_clear()


def test_the_file_is_closed_with_the_answer(api, path, media: Path):
    open_files = lambda: [  # noqa: E731
        it for it in Path("/proc/self/fd").iterdir() if str(media) in str(it.resolve())
    ]

    answer = api.get(path)
    assert len(open_files()) == 1
    answer.close()

    assert open_files() == []
