"""Every bad input is a 4xx with a stable code, and leaves neither row nor file."""

import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.support.api import assert_nothing_written, assert_problem
from tests.support.factories import make_audio, make_wav

URL = "https://audio.example.com/a.wav"
LONG = "x" * 513


def wav(content=None, name="a.wav", kind="audio/wav"):
    return SimpleUploadedFile(name, make_wav() if content is None else content, kind)


def entry(problem):
    (one,) = problem["errors"]
    return one


BAD_BODIES = [
    ({}, "field_required", "/audio_url"),
    ({"audio_url": ""}, "field_invalid", "/audio_url"),
    ({"audio_url": None}, "field_required", "/audio_url"),
    ({"audio_url": ["x"]}, "field_invalid", "/audio_url"),
    ({"audio_url": "a.wav"}, "url_invalid", "/audio_url"),
    ({"audio_url": URL + "\r\nHost: x"}, "url_invalid", "/audio_url"),
    ({"audio_url": "https://a:b@audio.example.com/"}, "url_invalid", "/audio_url"),
    ({"audio_url": URL + "x" * 8192}, "field_invalid", "/audio_url"),
    ({"audio_url": "ftp://audio.example.com/a"}, "url_not_allowed", "/audio_url"),
    ({"audio_url": "http://127.0.0.1/a.wav"}, "url_not_allowed", "/audio_url"),
    ({"audio_url": "http://2130706433/a.wav"}, "url_not_allowed", "/audio_url"),
    ({"audio_url": "http://[::ffff:7f00:1]/"}, "url_not_allowed", "/audio_url"),
    ({"audio_url": "http://169.254.169.254/"}, "url_not_allowed", "/audio_url"),
    ({"audio_url": "http://nowhere.invalid/"}, "url_not_allowed", "/audio_url"),
    ({"audio_url": "http://audio.example.com:22/"}, "url_not_allowed", "/audio_url"),
    ({"audio_url": URL, "file": "x"}, "field_invalid", "/file"),
    ({"audio_url": URL, "colour": 1}, "field_unknown", "/colour"),
    ({"audio_url": URL, "a/b": 1}, "field_unknown", "/a~1b"),
    ({"audio_url": URL, "priority": "asap"}, "field_invalid", "/priority"),
    ({"audio_url": URL, "priority": 0}, "field_invalid", "/priority"),
    (
        {"audio_url": URL, "callback_url": "http://hooks.example.com/"},
        "url_not_allowed",
        "/callback_url",
    ),
    (
        {"audio_url": URL, "callback_url": "https://10.0.0.1/"},
        "url_not_allowed",
        "/callback_url",
    ),
    ({"audio_url": URL, "callback_url": "x"}, "url_invalid", "/callback_url"),
    ({"audio_url": URL, "max_attempts": 0}, "field_invalid", "/max_attempts"),
    ({"audio_url": URL, "retention": [None, None]}, "field_invalid", "/retention"),
    ({"audio_url": URL, "retention": "text"}, "field_invalid", "/retention"),
    ({"audio_url": URL, "max_attempts": 11}, "field_invalid", "/max_attempts"),
    ({"audio_url": URL, "max_attempts": "3"}, "field_invalid", "/max_attempts"),
    ({"audio_url": URL, "max_attempts": True}, "field_invalid", "/max_attempts"),
    ({"audio_url": URL, "max_attempts": 1.5}, "field_invalid", "/max_attempts"),
    (
        {"audio_url": URL, "expires_in_seconds": 0},
        "field_invalid",
        "/expires_in_seconds",
    ),
    (
        {"audio_url": URL, "expires_in_seconds": 2592001},
        "field_invalid",
        "/expires_in_seconds",
    ),
    ({"audio_url": URL, "expires_at": "soon"}, "field_invalid", "/expires_at"),
    ({"audio_url": URL, "expires_at": 5}, "field_invalid", "/expires_at"),
    (
        {"audio_url": URL, "expires_at": "2001-01-01T00:00:00Z"},
        "field_invalid",
        "/expires_at",
    ),
    (
        {"audio_url": URL, "expires_at": "9999-01-01T00:00:00Z"},
        "field_invalid",
        "/expires_at",
    ),
    (
        {
            "audio_url": URL,
            "expires_at": "2030-01-01T00:00:00Z",
            "expires_in_seconds": 5,
        },
        "field_conflict",
        "/expires_at",
    ),
    ({"audio_url": URL, "options": []}, "field_invalid", "/options"),
    ({"audio_url": URL, "options": '{"model": "nova-3"}'}, "field_invalid", "/options"),
    (
        {"audio_url": URL, "options": {"smart_fromat": True}},
        "option_unknown",
        "/options/smart_fromat",
    ),
    (
        {"audio_url": URL, "options": {"punctuate": "true"}},
        "option_invalid",
        "/options/punctuate",
    ),
    (
        {"audio_url": URL, "options": {"callback": URL}},
        "option_refused",
        "/options/callback",
    ),
    (
        {"audio_url": URL, "options": {"keywords": "a"}},
        "option_conflict",
        "/options/keywords",
    ),
    ({"audio_url": URL, "metadata": []}, "field_invalid", "/metadata"),
    (
        {"audio_url": URL, "metadata": {str(n): 1 for n in range(17)}},
        "metadata_invalid",
        "/metadata",
    ),
    ({"audio_url": URL, "metadata": {"": 1}}, "metadata_invalid", "/metadata"),
    ({"audio_url": URL, "metadata": {LONG: 1}}, "metadata_invalid", "/metadata"),
    ({"audio_url": URL, "metadata": {"a": LONG}}, "metadata_invalid", "/metadata/a"),
    ({"audio_url": URL, "metadata": {"a": ["b"]}}, "metadata_invalid", "/metadata/a"),
    (
        {"audio_url": URL, "metadata": {"a": {"b": 1}}},
        "metadata_invalid",
        "/metadata/a",
    ),
    ({"audio_url": URL, "metadata": {"a": "\0"}}, "text_invalid", "/metadata/a"),
    ({"audio_url": URL, "metadata": {"a\0": "b"}}, "text_invalid", "/metadata"),
    ({"audio_url": URL, "metadata": {"a": "\ud83d"}}, "text_invalid", "/metadata/a"),
    ({"audio_url": URL, "metadata": {"\udc00": "a"}}, "text_invalid", "/metadata"),
    (
        {"audio_url": URL, "options": {"keyterm": ["\0"]}},
        "text_invalid",
        "/options/keyterm/0",
    ),
]


@pytest.mark.parametrize(("body", "code", "pointer"), BAD_BODIES)
def test_a_bad_field_is_refused_by_name(api, media, body, code, pointer):
    answer = api.post("/v1/jobs", body, {"Idempotency-Key": "k"})

    problem = assert_problem(answer, 400, code)
    assert (entry(problem)["code"], entry(problem)["pointer"]) == (code, pointer)
    assert_nothing_written(media)


def test_several_bad_fields_are_all_named(api, media):
    body = {"audio_url": URL, "priority": "asap", "max_attempts": 99}

    problem = assert_problem(api.post("/v1/jobs", body), 400, "invalid_request")

    assert {e["pointer"] for e in problem["errors"]} == {"/priority", "/max_attempts"}
    assert_nothing_written(media)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff\xfe{}",
        b'{"audio_url": "https://a.example.com/", "audio_url": "https://b.example.com/"}',
        b'{"audio_url": "https://a.example.com/", "metadata": {"a": NaN}}',
        b'{"audio_url": "https://a.example.com/", "metadata": {"a": 1e999}}',
        b'{"audio_url": "https://a.example.com/", "metadata": {"a": 1'
        + b"0" * 400
        + b"}}",
        b'{"metadata":' + b'{"a":' * 500 + b"1" + b"}" * 501,
    ],
)
def test_what_is_no_sound_json_object_is_refused(api, media, body):
    assert_problem(api.post("/v1/jobs", body), 400, "json_invalid")
    assert_nothing_written(media)


def test_a_body_over_a_mebibyte_is_refused_unread(api, media):
    head = json.dumps({"audio_url": URL})[:-1].encode()
    fits = head + b" " * (1024**2 - len(head) - 1) + b"}"

    assert api.post("/v1/jobs", fits).status_code == 202
    answer = api.post("/v1/jobs", fits + b" ")

    assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "audio/wav"],
)
def test_a_body_of_another_type_is_refused(api, media, content_type):
    answer = api.post("/v1/jobs", b"audio_url=x", content_type=content_type)

    assert_problem(answer, 415, "unsupported_media_type")
    assert_nothing_written(media)


def test_a_body_without_a_type_is_refused(api, media):
    answer = api.client.generic(
        "POST", "/v1/jobs", b"{}", content_type="", headers=api.headers()
    )

    assert_problem(answer, 415, "unsupported_media_type")
    assert_nothing_written(media)


BAD_FILES = [
    (b"", "a.wav", "audio_empty"),
    (make_wav(0), "a.wav", "audio_empty"),
    (b"I am a text file.\n" * 99, "a.wav", "audio_unreadable"),
    (b"%PDF-1.7\n" + bytes(3000), "a.mp3", "audio_unreadable"),
    (make_wav(2.0)[:9000], "a.wav", "audio_truncated"),
    (make_audio("mp3", "libmp3lame")[:9000], "a.mp3", "audio_truncated"),
]


@pytest.mark.parametrize(("content", "name", "code"), BAD_FILES)
def test_a_file_that_is_not_whole_audio_is_refused(api, media, content, name, code):
    answer = api.form({"file": wav(content, name)}, {"Idempotency-Key": "k"})

    assert_problem(answer, 422, code)
    assert_nothing_written(media)


def test_a_file_over_the_cap_is_refused(api, media, settings):
    settings.UPLOAD_MAX_BYTES = 4000

    assert_problem(api.form({"file": wav()}), 413, "upload_too_large")
    assert_nothing_written(media)


BAD_FORMS = [
    ({"audio_url": URL}, 400, "field_required"),
    ({"options": "{"}, 400, "json_invalid"),
    ({"options": '{"model": "x"}'}, 400, "option_invalid"),
    ({"options": '{"smart_fromat": true}'}, 400, "option_unknown"),
    ({"options": '{"encoding": "mulaw"}'}, 400, "option_conflict"),
    ({"options": ""}, 400, "json_invalid"),
    ({"metadata": '{"a": "\\u0000"}'}, 400, "text_invalid"),
    ({"metadata": "[]"}, 400, "field_invalid"),
    ({"callback_url": "https://hooks.example.com/\0"}, 400, "field_invalid"),
    ({"priority": "asap"}, 400, "field_invalid"),
    ({"priority": ["low", "high"]}, 400, "field_repeated"),
    ({"max_attempts": "many"}, 400, "json_invalid"),
    ({"max_attempts": "99"}, 400, "field_invalid"),
    ({"colour": "red"}, 400, "field_unknown"),
    ({"metadata": "x" * 1024**2}, 413, "body_too_large"),
]


@pytest.mark.parametrize(("fields", "status", "code"), BAD_FORMS)
def test_a_bad_form_field_throws_the_file_away(api, media, fields, status, code):
    assert_problem(api.form({"file": wav(), **fields}), status, code)
    assert_nothing_written(media)


def test_a_second_file_throws_both_away(api, media):
    answer = api.form({"file": [wav(), wav()]})
    assert_problem(answer, 400, "field_unknown")

    answer = api.form({"file": wav(), "other": wav()})
    assert entry(assert_problem(answer, 400, "field_unknown"))["pointer"] == "/other"
    assert_nothing_written(media)


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n" + make_wav() + b"\r\n--b--\r\n"
)


def cut(api, body, announced, content_type):
    """Send less than announced, then close: as a WSGI server presents it."""
    environ = {
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(announced),
        "CONTENT_TYPE": content_type,
    }
    return api.client.generic("POST", "/v1/jobs", headers=api.headers(), **environ)


@pytest.mark.parametrize("keep", [len(FORM) - 4, len(FORM) // 2, 200, 60, 3])
def test_an_upload_that_was_cut_is_refused(api, media, keep):
    answer = cut(api, FORM[:keep], len(FORM), "multipart/form-data; boundary=b")

    assert_problem(answer, 400, "body_truncated")
    assert_nothing_written(media)


def test_json_that_was_cut_is_refused(api, media):
    body = b'{"audio_url": "https://a.example.com/"}'

    answer = cut(api, body, len(body) + 1, "application/json")

    assert_problem(answer, 400, "body_truncated")
    assert_nothing_written(media)


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("multipart/form-data", FORM, "body_invalid"),
        ("multipart/form-data; boundary=", FORM, "body_invalid"),
        ("multipart/form-data; boundary=é", FORM, "body_invalid"),
        ("multipart/form-data; boundary=other", FORM, "body_truncated"),
        (
            "multipart/form-data; boundary=b",
            FORM.replace(
                b"audio/wav\r\n", b"audio/wav\r\nContent-Transfer-Encoding: base64\r\n"
            ),
            "body_invalid",
        ),
    ],
)
def test_a_form_that_cannot_be_parsed_is_refused(api, media, content_type, body, code):
    answer = api.post("/v1/jobs", body, content_type=content_type)

    assert_problem(answer, 400, code)
    assert_nothing_written(media)


def test_a_body_of_unknown_length_is_refused(api, media):
    answer = api.client.generic(
        "POST",
        "/v1/jobs",
        b"",
        content_type="application/json",
        headers=api.headers({"Transfer-Encoding": "chunked"}),
    )

    assert_problem(answer, 411, "length_required")
    assert_nothing_written(media)


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "\x7f"])
def test_a_bad_idempotency_key_is_refused_before_the_body_is_read(api, media, key):
    answer = api.form({"file": wav()}, {"Idempotency-Key": key})

    problem = assert_problem(answer, 400, "idempotency_key_invalid")
    assert entry(problem)["header"] == "Idempotency-Key"
    assert_nothing_written(media)


@pytest.mark.parametrize("query", ["?x=1", "?limit=1", "?format=json"])
def test_an_unknown_query_parameter_is_refused(api, media, query):
    answer = api.post(f"/v1/jobs{query}", {"audio_url": URL})

    problem = assert_problem(answer, 400, "parameter_unknown")
    assert entry(problem)["parameter"] == query[1:].split("=")[0]
    assert_nothing_written(media)
