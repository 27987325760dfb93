import json

import pytest

from tests.support.api import assert_problem
from tests.support.factories import make_job, make_transcript

WORD = {"word": "hello", "start": 0.1, "end": 0.4, "confidence": 0.9}
DOCUMENT = {
    "metadata": {"request_id": "req-1", "duration": 2.5},
    "results": {
        "channels": [
            {
                "alternatives": [
                    {
                        "transcript": "hello w\u00f6rld",
                        "confidence": 0.9,
                        "words": [WORD],
                    }
                ]
            }
        ]
    },
}
RAW = json.dumps(DOCUMENT, indent=3).encode()


@pytest.fixture
def path(api):
    job = make_job(api.tenant, status="completed")
    make_transcript(job, RAW, text="hello w\u00f6rld")
    return f"/v1/transcripts/{job.pk}"


FORMS = [
    ("", {}, "application/json"),
    ("", {"Accept": "*/*"}, "application/json"),
    ("", {"Accept": "text/html,*/*;q=0.8"}, "application/json"),
    ("?format=json", {"Accept": "text/plain"}, "application/json"),
    ("", {"Accept": "text/plain"}, "text/plain; charset=utf-8"),
    ("?format=text", {}, "text/plain; charset=utf-8"),
    ("", {"Accept": "application/vnd.deepgram+json"}, "application/vnd.deepgram+json"),
    ("?format=raw", {"Accept": "text/html"}, "application/vnd.deepgram+json"),
    ("?format=srt", {}, "application/x-subrip; charset=utf-8"),
    ("", {"Accept": "application/x-subrip"}, "application/x-subrip; charset=utf-8"),
    ("?format=vtt", {"Accept": "text/plain"}, "text/vtt; charset=utf-8"),
    ("", {"Accept": "text/vtt, */*;q=0.1"}, "text/vtt; charset=utf-8"),
]


@pytest.mark.parametrize(("query", "headers", "content_type"), FORMS)
def test_the_form_is_chosen_by_the_address_then_by_accept(
    api, path, query, headers, content_type
):
    answer = api.get(path + query, headers)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == content_type
    job_id = path.rpartition("/")[2]
    named = answer.headers["Content-Disposition"]
    assert named.startswith(f'inline; filename="{job_id}.')
    match content_type.split(";")[0]:
        case "text/plain":
            assert answer.content.decode() == "hello w\u00f6rld"
        case "application/vnd.deepgram+json":
            assert answer.content == RAW
        case "application/x-subrip":
            assert answer.content == b"1\n00:00:00,100 --> 00:00:01,100\nhello\n"
        case "text/vtt":
            assert answer.content == (
                b"WEBVTT\n\n00:00:00.100 --> 00:00:01.100\nhello\n"
            )
        case _:
            shown = answer.json()
            assert (shown["object"], shown["text"]) == (
                "transcript",
                "hello w\u00f6rld",
            )
            assert shown["channels"][0]["words"] == [WORD]


@pytest.mark.parametrize("query", ["?format=docx", "?format=", "?format=JSON"])
def test_a_form_that_is_not_to_be_had_is_refused(api, path, query):
    problem = assert_problem(api.get(path + query), 400, "parameter_invalid")

    assert problem["errors"][0]["parameter"] == "format"


def test_a_type_that_is_not_to_be_had_is_refused(api, path):
    assert_problem(api.get(path, {"Accept": "audio/wav"}), 406, "not_acceptable")


@pytest.mark.parametrize("state", ["queued", "processing"])
def test_before_the_end_it_is_too_soon(api, state):
    job = make_job(api.tenant, status=state)

    answer = api.get(f"/v1/transcripts/{job.pk}")

    assert_problem(answer, 409, "result_not_ready")
    assert answer.headers["Retry-After"] == "2"


@pytest.mark.parametrize("state", ["failed", "canceled", "expired"])
def test_a_job_that_ended_otherwise_has_none(api, state):
    job = make_job(api.tenant, status=state)

    answer = api.get(f"/v1/transcripts/{job.pk}")

    problem = assert_problem(answer, 409, f"job_{state}")
    assert "Retry-After" not in answer.headers
    assert ("upstream_error" in problem["detail"]) is (state == "failed")


def test_a_transcript_that_is_missing_is_not_there(api):
    job = make_job(api.tenant, status="completed")

    assert_problem(api.get(f"/v1/transcripts/{job.pk}"), 404, "not_found")


def test_its_warnings_are_the_jobs(api, path):
    assert api.get(path).json()["warnings"] == []
