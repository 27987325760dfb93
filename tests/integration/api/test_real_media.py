"""Uploads that an earlier version refused or measured wrongly."""

import pytest

from jobs.models import Job
from tests.support.api import assert_problem
from tests.support.cases import CASES
from tests.support.factories import make_audio, make_wav
from tests.support.media import Sound, make_media
from workers.deepgram import backend

MEDIA = sorted((CASES / "media").iterdir())


@pytest.mark.parametrize("path", MEDIA, ids=lambda path: path.name)
@pytest.mark.parametrize("endpoint", ["/v1/jobs", "/v1/transcribe"])
def test_it_is_accepted_and_short(api, path, endpoint):
    fields = {"mode": "async"} if endpoint.endswith("transcribe") else {}

    answer = api.upload(path.read_bytes(), name=path.name, path=endpoint, **fields)

    assert answer.status_code == 202, answer.content
    job = Job.objects.get()
    assert 4.9 <= job.duration_seconds <= 9.8
    assert job.is_silent is False


@pytest.mark.parametrize(
    "kind",
    ["binary/octet-stream", "audio/x-flac", "application/x-flac", "application/x-matroska", "text/plain", "image/png", "nonsense", ""],
)  # fmt: skip
def test_the_content_decides_and_not_the_declared_type(api, kind):
    answer = api.upload(make_audio("flac", "flac"), name="a", kind=kind)

    assert answer.status_code == 202, answer.content
    assert Job.objects.get().content_type == "audio/flac"


def test_a_part_without_a_type_is_accepted(api):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        + make_wav()
        + b"\r\n--x--\r\n"
    )

    answer = api.post("/v1/jobs", body, content_type="multipart/form-data; boundary=x")

    assert answer.status_code == 202, answer.content


def test_what_is_no_audio_is_told_what_would_be(api):
    answer = api.upload(b"I am text. " * 900, kind="audio/wav")

    problem = assert_problem(answer, 422, "audio_unreadable")
    assert "FLAC" in problem["detail"]


def film():
    tracks = [("aac", Sound(volume=0)), ("aac", Sound()), ("aac", Sound(seconds=5))]
    return make_media("matroska", *tracks, video_seconds=6)


def test_the_first_track_with_sound_is_named_and_chosen(api):
    answer = api.upload(film(), name="film.mkv")

    job = Job.objects.get()
    assert answer.status_code == 202, answer.content
    assert job.options["audio_track"] == 2
    assert answer.json()["warnings"][0]["code"] == "several_audio_tracks"
    assert job.content_type == "video/webm"


def test_a_track_is_chosen_by_its_number(api):
    api.upload(film(), name="film.mkv", options='{"audio_track": 3}')

    job = Job.objects.get()
    assert job.duration_seconds == pytest.approx(5.0, abs=0.1)
    assert job.options["audio_track"] == 3


def test_a_track_that_is_not_there_is_refused(api, media):
    answer = api.upload(film(), name="film.mkv", options='{"audio_track": 4}')

    problem = assert_problem(answer, 400, "option_invalid")
    assert problem["errors"][0]["pointer"] == "/options/audio_track"
    assert "3 audio tracks" in problem["errors"][0]["detail"]
    assert not Job.objects.exists()


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/transcribe", "/v1/batches"])
def test_a_track_of_a_url_is_refused_with_the_reason(api, path):
    body = {
        "audio_url": "https://a.example.com/film.mkv",
        "options": {"audio_track": 2},
    }
    body = {"items": [body]} if path == "/v1/batches" else body

    answer = api.post(path, body)

    problem = assert_problem(answer, 400, "option_conflict")
    assert "Deepgram fetches a URL itself" in problem["errors"][0]["detail"]
    assert not Job.objects.exists()


def test_the_option_is_not_sent_to_deepgram(api):
    api.upload(film(), name="film.mkv")
    job = Job.objects.get()

    class Request:
        options, tags = job.options, ()

    assert "audio_track" not in backend.build_query(Request)
