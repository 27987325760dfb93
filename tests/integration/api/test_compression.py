"""Compressed responses and requests, byte order marks, and Expect: 100-continue."""

import gzip
import json

import pytest
import zstandard

from jobs.models import Job
from tests.support.api import assert_problem
from tests.support.factories import make_job, make_transcript
from transcribe_platform.middleware.compression import choose_coding

BODY = {"audio_url": "https://audio.example.com/a.wav"}
WORDS = [
    {"word": f"word{n}", "start": n, "end": n + 1, "confidence": 0.9}
    for n in range(500)
]
RAW = {
    "metadata": {"duration": 500.0},
    "results": {
        "channels": [{"alternatives": [{"transcript": "word", "words": WORDS}]}]
    },
}


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0, gzip;q=0", None),
        ("gzip;q=x", None),
        ("GZIP", "gzip"),
    ],
)
def test_the_coding_is_the_clients_choice(accepted, coding):
    assert choose_coding(accepted) == coding


@pytest.mark.parametrize(
    ("coding", "decode"),
    [("gzip", gzip.decompress), ("zstd", zstandard.ZstdDecompressor().decompress)],
)
def test_a_transcript_is_compressed_and_keeps_its_tag(api, coding, decode):
    job = make_job(api.tenant, status="completed")
    make_transcript(job, json.dumps(RAW).encode())
    path = f"/v1/transcripts/{job.pk}"
    plain = api.get(path)

    answer = api.get(path, {"Accept-Encoding": coding})

    assert answer.headers["Content-Encoding"] == coding
    assert len(answer.content) < len(plain.content) / 4
    assert decode(answer.content) == plain.content
    assert answer.headers["ETag"] == plain.headers["ETag"]
    for each in (answer, plain):
        assert "Accept-Encoding" in each.headers["Vary"]
        assert each.headers["Content-Length"] == str(len(each.content))
    tag = {"Accept-Encoding": coding, "If-None-Match": answer.headers["ETag"]}
    assert api.get(path, tag).status_code == 304


def test_secrets_and_small_responses_are_not_compressed(api):
    accept = {"Accept-Encoding": "gzip"}
    key = {
        "name": "x" * 200,
        "scopes": ["jobs:read"],
        "allowed_ips": ["192.0.2.1"] * 99,
    }

    made = api.post("/v1/api-keys", key, headers=accept)
    small = api.get("/v1/me", accept)

    assert made.status_code == 201
    for answer in (made, small):
        assert "Content-Encoding" not in answer.headers


def test_the_document_is_compressed_once_in_advance(api):
    answer = api.client.get("/v1/openapi.json", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.content))["openapi"]


def post(api, body, content_type="application/json", **headers):
    return api.post("/v1/jobs", body, headers=headers, content_type=content_type)


def test_json_may_be_gzip(api):
    body = gzip.compress(json.dumps(BODY).encode())

    answer = post(api, body, **{"Content-Encoding": "gzip"})

    assert answer.status_code == 202
    assert Job.objects.get().audio_url == BODY["audio_url"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"no gzip", 400, "body_invalid"),
        (gzip.compress(json.dumps(BODY).encode())[:-4], 400, "body_invalid"),
        (gzip.compress(json.dumps(BODY).encode()) + b"more", 400, "body_invalid"),
        (gzip.compress(b" " * 50_000_000), 413, "body_too_large"),
    ],
    ids=["other bytes", "truncated", "more", "too large"],
)
def test_other_bytes_than_one_bounded_gzip_are_refused(api, body, status, code):
    assert_problem(post(api, body, **{"Content-Encoding": "gzip"}), status, code)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("coding", "content_type"),
    [
        ("br", "application/json"),
        ("gzip, gzip", "application/json"),
        ("gzip", "multipart/form-data; boundary=x"),
    ],
)
def test_other_encodings_are_415(api, coding, content_type):
    answer = post(api, b"{}", content_type, **{"Content-Encoding": coding})

    assert_problem(answer, 415, "content_encoding_unsupported")


def test_a_byte_order_mark_is_ignored(api):
    answer = post(api, b"\xef\xbb\xbf" + json.dumps(BODY).encode())

    assert answer.status_code == 202
