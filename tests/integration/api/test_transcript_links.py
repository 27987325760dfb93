"""Links to a transcript: what they open, for how long, and that nothing else does."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine
from django.test import Client

from jobs.models import Event
from jobs.retention import erasure
from tests.support.api import Api, assert_problem
from tests.support.factories import make_job, make_key, make_transcript
from tests.support.fake_backend import document
from transcripts import links

_RAW = json.dumps(document("hello wörld")).encode()
START = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def job(api):
    job = make_job(api.tenant, status="completed")
    make_transcript(job, _RAW, text="hello wörld")
    return job


def make(api: Api, job, **asked) -> dict[str, str]:
    with time_machine.travel(START, tick=False):
        answer = api.post(f"/v1/transcripts/{job.pk}/links", asked)
    assert answer.status_code == 201, answer.content
    return answer.json()


def follow(url: str, *, after: float = 0, **headers: str):
    parts = urlsplit(url)
    moment = START + timedelta(seconds=after)
    with time_machine.travel(moment, tick=False):
        return Client(raise_request_exception=False).get(
            f"{parts.path}?{parts.query}", headers=headers
        )


FORMS = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "raw": "application/vnd.deepgram+json",
}


@pytest.mark.parametrize("form", list(FORMS))
def test_a_link_opens_its_transcript_without_a_key(api, job, settings, form):
    made = make(api, job, format=form, expires_in_seconds=60)

    assert made["expires_at"] == "2026-11-22T12:01:00Z"
    assert made["url"].startswith(f"{settings.BASE_URL}/v1/transcripts/{job.pk}?")
    answer = follow(made["url"], Accept="text/html")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == FORMS[form]
    assert "hello" in answer.content.decode()
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_it_is_an_hour_of_json_unless_asked_otherwise(api, job):
    made = make(api, job)

    assert made["expires_at"] == "2026-11-22T13:00:00Z"
    assert "format=json" in made["url"]


def test_it_ends_to_the_second(api, job):
    url = make(api, job, expires_in_seconds=60)["url"]

    assert follow(url, after=59.9).status_code == 200
    assert_problem(follow(url, after=60), 410, "link_expired")


def test_who_made_it_is_recorded_and_the_link_is_not(api, job):
    url = make(api, job, expires_in_seconds=60, format="text")["url"]

    event = Event.objects.get(type="transcript.link_made")
    assert (event.actor, event.job) == (f"key:{api.key.public_id}", job)
    assert event.data == {"format": "text", "expires_at": "2026-11-22T12:01:00Z"}
    assert _signature(url) not in str(list(Event.objects.values()))


def _signature(url: str) -> str:
    return parse_qs(urlsplit(url).query)["signature"][0]


def other(value: str, place: int) -> str:
    return value[:place] + ("0" if value[place] != "0" else "1") + value[place + 1 :]


TAMPERINGS = {
    "a later end": lambda q: q | {"expires": str(int(q["expires"]) + 1)},
    "an earlier end": lambda q: q | {"expires": str(int(q["expires"]) - 1)},
    "another spelling of the end": lambda q: q | {"expires": "0" + q["expires"]},
    "a signed end": lambda q: q | {"expires": "+" + q["expires"]},
    "an end in other digits": lambda q: q | {"expires": "\u0661" + q["expires"][1:]},
    "an end with a space": lambda q: q | {"expires": q["expires"] + " "},
    "an endless end": lambda q: q | {"expires": "9" * 5000},
    "an end that is none": lambda q: q | {"expires": "never"},
    "an empty end": lambda q: q | {"expires": ""},
    "no end": lambda q: {k: v for k, v in q.items() if k != "expires"},
    "another format": lambda q: q | {"format": "raw"},
    "no format": lambda q: {k: v for k, v in q.items() if k != "format"},
    "no signature": lambda q: {k: v for k, v in q.items() if k != "signature"},
    "an empty signature": lambda q: q | {"signature": ""},
    "half a signature": lambda q: q | {"signature": q["signature"][:32]},
    "a longer signature": lambda q: q | {"signature": q["signature"] + "0"},
    "a louder signature": lambda q: q | {"signature": q["signature"].upper()},
    "a signature beyond ASCII": lambda q: q | {"signature": "é" * 64},
    "another first letter": lambda q: q | {"signature": other(q["signature"], 0)},
    "another last letter": lambda q: q | {"signature": other(q["signature"], 63)},
    "a NUL": lambda q: q | {"signature": "\0" + q["signature"]},
    "a line feed in the end": lambda q: q | {"expires": q["expires"] + "\n"},
}


@pytest.mark.parametrize("tampering", list(TAMPERINGS))
def test_a_link_that_was_changed_opens_nothing(api, job, tampering):
    parts = urlsplit(make(api, job)["url"])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    changed = urlencode(TAMPERINGS[tampering](query))
    assert changed != parts.query

    answer = follow(f"{parts.path}?{changed}")

    assert_problem(answer, 403, "link_invalid")
    assert "hello" not in answer.content.decode()
    with_key = follow(f"{parts.path}?{changed}", Authorization=f"Bearer {api.text}")
    assert_problem(with_key, 403, "link_invalid")


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ("&signature=0", 400, "parameter_repeated"),
        ("&format=json", 400, "parameter_repeated"),
        ("&key=1", 400, "parameter_unknown"),
    ],
)
def test_a_link_that_was_added_to_is_refused(api, job, more, status, code):
    assert_problem(follow(make(api, job)["url"] + more), status, code)


def test_a_link_opens_no_other_job(api, job):
    second = make_job(api.tenant, status="completed")
    make_transcript(second, _RAW)
    url = make(api, job)["url"]

    moved = url.replace(str(job.pk), str(second.pk))

    assert_problem(follow(moved), 403, "link_invalid")


def test_a_link_opens_nothing_but_its_transcript(api, job):
    parts = urlsplit(make(api, job)["url"])

    for path in (f"/v1/jobs/{job.pk}", f"{parts.path}/links"):
        answer = follow(f"{path}?{parts.query}")
        assert_problem(answer, 401, "key_missing")
    posted = Client().post(f"{parts.path}?{parts.query}")
    assert_problem(posted, 401, "key_missing")


def test_it_ends_with_the_jobs_erasure(api, job):
    url = make(api, job)["url"]
    erasure.erase_job(job=job, actor="me", now=START)

    assert_problem(follow(url), 410, "erased")
    assert_problem(api.post(f"/v1/transcripts/{job.pk}/links"), 410, "erased")


def test_it_ends_with_its_tenant(api, job):
    url = make(api, job)["url"]
    type(api.tenant).objects.filter(pk=api.tenant.pk).update(is_active=False)

    assert_problem(follow(url), 403, "link_invalid")


def test_it_ends_with_the_platforms_key_unless_that_is_still_taken(api, job, settings):
    url = make(api, job)["url"]
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "new"

    assert follow(url).status_code == 200
    settings.SECRET_KEY_FALLBACKS = []

    assert_problem(follow(url), 403, "link_invalid")


def test_a_key_that_means_nothing_here_does_no_harm(api, job):
    url = make(api, job)["url"]

    assert follow(url, Authorization="Bearer nonsense").status_code == 200


@pytest.mark.parametrize(
    "asked",
    [
        {"expires_in_seconds": 59},
        {"expires_in_seconds": 604801},
        {"expires_in_seconds": "60"},
        {"expires_in_seconds": None},
        {"format": "docx"},
        {"format": None},
        {"job_id": "x"},
    ],
)
def test_what_a_link_cannot_be_is_refused(api, job, asked):
    answer = api.post(f"/v1/transcripts/{job.pk}/links", asked)

    assert answer.status_code == 400
    assert not Event.objects.filter(type="transcript.link_made").exists()


def test_only_the_tenants_own_readers_make_links(api, job):
    path = f"/v1/transcripts/{job.pk}/links"
    writer, reader = Api(api.tenant), Api(api.tenant)
    writer.key, writer.text = make_key(api.tenant, scopes=("jobs:write",))
    reader.key, reader.text = make_key(api.tenant, scopes=("jobs:read",))

    assert_problem(Api().post(path), 404, "not_found")
    assert_problem(writer.post(path), 403, "scope_missing")
    assert reader.post(path).status_code == 201


def test_before_the_end_there_is_nothing_to_link_to(api):
    job = make_job(api.tenant)

    answer = api.post(f"/v1/transcripts/{job.pk}/links")

    assert_problem(answer, 409, "result_not_ready")


def test_signatures_are_compared_in_constant_time(api, job, monkeypatch):
    url = make(api, job)["url"]
    seen = []
    real = links.constant_time_compare
    monkeypatch.setattr(
        links, "constant_time_compare", lambda *pair: seen.append(pair) or real(*pair)
    )

    assert follow(url).status_code == 200

    assert seen == [(_signature(url), _signature(url))]
