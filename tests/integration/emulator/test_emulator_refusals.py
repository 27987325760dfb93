"""Every documented refusal, as the official SDK sees it: status and exact sentence."""

import socket

import httpx
import pytest
from deepgram.core.api_error import ApiError
from deepgram.errors import BadRequestError

CORRUPT = "Bad Request: failed to process audio: corrupt or unsupported data"
NO_MODEL = "Bad Request: No such model/language/tier combination found."
NOT_A_FLAG = (
    "Failed to deserialize query parameters: provided string was not `true` or `false`"
)
REMOTE = "The remote server hosting the media "


def refused(call, **arguments) -> ApiError:
    """Return the error of a call that must fail, its request id checked."""
    with pytest.raises(ApiError) as caught:
        call(**arguments)
    error = caught.value
    assert error.body["request_id"] == error.headers["dg-request-id"]
    return error


@pytest.mark.parametrize(
    ("key", "status", "code", "sentence"),
    [
        ("bad-key", 401, "INVALID_AUTH", "Invalid credentials."),
        (
            "no-perm",
            401,
            "INSUFFICIENT_PERMISSIONS",
            "User does not have sufficient permissions.",
        ),
        (
            "no-credit",
            402,
            "ASR_PAYMENT_REQUIRED",
            "Project does not have enough credits for an ASR request "
            "and does not have an overage agreement.",
        ),
        (
            "no-model",
            403,
            "INSUFFICIENT_PERMISSIONS",
            "Project does not have access to the requested model.",
        ),
    ],
)
def test_keys_that_refuse(emulator, wav, key, status, code, sentence):
    error = refused(
        emulator.client(key).listen.v1.media.transcribe_file, request=wav(1)
    )

    assert error.status_code == status
    assert (error.body["err_code"], error.body["err_msg"]) == (code, sentence)
    (entry,) = emulator.log()
    assert (entry["status"], entry["outcome"]) == (status, "error")
    assert emulator.stats()["granted"] == 0


@pytest.mark.parametrize("header", [{}, {"authorization": "Basic dTpw"}])
def test_a_call_without_a_key_is_refused(emulator, wav, header):
    answer = emulator.http.post("/v1/listen", content=wav(1), headers=header)

    assert answer.status_code == 401
    assert answer.json()["err_code"] == "INVALID_AUTH"


def test_a_bearer_token_is_a_key_too(emulator, wav):
    header = {"authorization": "bearer a.jwt"}

    answer = emulator.http.post("/v1/listen", content=wav(1), headers=header)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ({"smart_format": "True"}, "INVALID_QUERY_PARAMETER", NOT_A_FLAG),
        ({"model": "nova-99"}, "Bad Request", NO_MODEL),
        ({"model": "nova-3-medical", "language": "de"}, "Bad Request", NO_MODEL),
        ({"callback": "ftp://a/b"}, "Bad Request", "Invalid callback url."),
    ],
)
def test_options_are_checked(emulator, media, wav, arguments, code, sentence):
    error = refused(media.transcribe_file, request=wav(1), **arguments)

    assert isinstance(error, BadRequestError)
    assert (error.body["err_code"], error.body["err_msg"]) == (code, sentence)
    assert emulator.stats()["granted"] == 0


def test_unknown_parameters_are_ignored(emulator, media, wav):
    more = {"additional_query_parameters": {"not_invented_yet": "x"}}

    answer = media.transcribe_file(request=wav(1), request_options=more)

    assert answer.metadata.duration == 1


@pytest.mark.parametrize(
    "body", [b"", b"not audio " * 99, b"<html></html>", b"RIFF....WAVEdata", bytes(999)]
)
def test_what_is_no_audio_is_refused(media, body):
    error = refused(media.transcribe_file, request=body)

    assert isinstance(error, BadRequestError)
    assert (error.body["err_code"], error.body["err_msg"]) == ("Bad Request", CORRUPT)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/missing.wav", REMOTE + "returned a client error: 404 Not Found."),
        ("/expired.wav", REMOTE + "returned a client error: 403 Forbidden."),
        ("/down.wav", REMOTE + "returned a server error: 503 Service Unavailable."),
        ("/page.html", REMOTE + "failed to return valid data."),
        ("/text.wav", REMOTE + "failed to return valid data."),
        ("/loop.wav", REMOTE + "returned too many redirects."),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(media, site, path, sentence):
    error = refused(media.transcribe_url, url=site.url + path)

    assert error.status_code == 400
    assert error.body["err_code"] == "REMOTE_CONTENT_ERROR"
    assert error.body["err_msg"] == sentence


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_an_unreachable_url_is_refused(media, scheme):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]

        error = refused(media.transcribe_url, url=f"{scheme}://127.0.0.1:{port}/a.wav")

    assert error.body["err_code"] == "REMOTE_CONTENT_ERROR"
    assert error.body["err_msg"] == REMOTE + "failed to return valid data."


@pytest.mark.parametrize(
    ("body", "code_field", "code"),
    [
        (b"{", "err_code", "Bad Request"),
        (b'{"uri":"x"}', "category", "INVALID_JSON"),
        (b"[]", "category", "INVALID_JSON"),
    ],
)
def test_a_json_body_must_name_a_url(emulator, body, code_field, code):
    headers = {"authorization": "Token k", "content-type": "application/json"}

    answer = emulator.http.post("/v1/listen", content=body, headers=headers)

    assert answer.status_code == 400
    assert answer.json()[code_field] == code


def test_an_address_nobody_serves_still_has_a_request_id(emulator):
    answer = emulator.http.get("/v1/nowhere")

    assert answer.status_code == 404
    assert answer.headers["dg-request-id"]


def test_a_client_that_stops_sending_is_told_so(emulator):
    host = httpx.URL(emulator.url)

    with socket.create_connection((host.host, host.port)) as plug:
        plug.sendall(
            b"POST /v1/listen HTTP/1.1\r\nhost: x\r\nauthorization: Token k\r\n"
            b"content-length: 9999\r\n\r\nRIFF"
        )
        plug.shutdown(socket.SHUT_WR)
        plug.settimeout(5)
        assert plug.recv(1000) == b""

    assert emulator.log()[0]["outcome"] == "aborted"
