"""Answers are tagged; whoever has one already is told so and sent nothing."""

import json
import re

import pytest
from django.utils import timezone

from jobs.models import Job
from jobs.scheduling import queue_position
from jobs.state import JobStatus
from tests.support.api import Api, send
from tests.support.factories import make_job, make_transcript, move_job
from tests.support.routes import operations

RAW = json.dumps({"results": {"channels": []}}).encode()


@pytest.fixture
def job(api):
    return make_job(api.tenant, status="processing")


@pytest.fixture
def path(job):
    return f"/v1/jobs/{job.pk}"


def again(api, path, tag):
    return api.get(path, {"If-None-Match": tag})


def test_a_job_that_did_not_change_is_not_sent_again(api, path):
    first = api.get(path)
    tag = first.headers["ETag"]

    second = again(api, path, tag)

    assert re.fullmatch(r'W/"[0-9a-f]{24}"', tag)
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["ETag"] == tag
    assert second.headers["Retry-After"] == first.headers["Retry-After"] == "2"
    assert second.headers["Cache-Control"] == "private, no-cache"
    assert "Content-Type" not in second.headers
    assert {"RateLimit", "X-Request-Id"} <= set(second.headers)


def test_a_job_that_changed_is(api, path, job):
    tag = api.get(path).headers["ETag"]
    move_job(job, JobStatus.COMPLETED)

    answer = again(api, path, tag)

    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.headers["ETag"] != tag
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("{}", 304),
        ('"x", {}, W/"y"', 304),
        ("*", 304),
        ("{strong}", 304),  # compared weakly
        ('"x"', 200),
        ("{bare}", 200),
        ("", 200),
        ('W/"', 200),
        ("é", 200),
    ],
)
def test_the_tags_that_are_had_are_read_as_the_rfc_says(api, path, sent, status):
    tag = api.get(path).headers["ETag"]
    bare = tag.removeprefix("W/").strip('"')
    asked = sent.replace("{strong}", f'"{bare}"').replace("{bare}", bare)

    assert again(api, path, asked.replace("{}", tag)).status_code == status


def test_a_new_guess_of_the_time_it_takes_is_no_news(api, monkeypatch):
    path = f"/v1/jobs/{make_job(api.tenant).pk}"
    guesses = iter([10.0, 12.0])
    find = queue_position.find_queue_position

    def guess(job, *, now):
        found = find(job, now=now)
        return queue_position.QueuePosition(
            **{
                **{name: getattr(found, name) for name in found.__dataclass_fields__},
                "eta_seconds": next(guesses),
            }
        )

    monkeypatch.setattr(queue_position, "find_queue_position", guess)

    tag = api.get(path).headers["ETag"]

    assert again(api, path, tag).status_code == 304


def test_a_place_in_the_queue_is_news(api):
    first, second = make_job(api.tenant), make_job(api.tenant)
    path = f"/v1/jobs/{second.pk}"
    tag = api.get(path).headers["ETag"]
    Job.objects.filter(pk=first.pk).update(
        status="canceled", finished_at=timezone.now()
    )

    assert again(api, path, tag).status_code == 200


@pytest.mark.parametrize("form", ["json", "text", "raw"])
def test_each_form_of_a_transcript_has_its_tag(api, form):
    job = make_job(api.tenant, status="completed")
    make_transcript(job, RAW)
    path = f"/v1/transcripts/{job.pk}?format="

    tag = api.get(path + form).headers["ETag"]
    statuses = {
        each: again(api, path + each, tag).status_code
        for each in ("json", "text", "raw")
    }

    assert statuses == {**dict.fromkeys(("json", "text", "raw"), 200), form: 304}


def test_a_tag_opens_nothing_to_others(api, path):
    tag = api.get(path).headers["ETag"]

    assert again(Api(), path, tag).status_code == 404
    assert again(Api(), path, "*").status_code == 404


@operations("GET")
def test_whatever_is_read_is_tagged(api, method, route):
    answer = api.get(route.path())
    if answer.status_code != 200:
        assert "ETag" not in answer.headers
        return

    tag = answer.headers["ETag"]
    head = send(api.client, "HEAD", route.path(), key=api.text)

    assert again(api, route.path(), tag).status_code == 304
    assert head.headers["ETag"] == tag


def test_what_is_written_is_not_tagged(api):
    answer = api.post("/v1/jobs", {"audio_url": "https://audio.example.com/a.wav"})

    assert "ETag" not in answer.headers
