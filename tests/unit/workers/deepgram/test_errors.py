from datetime import UTC, datetime

import pytest
import time_machine

from workers.deepgram.errors import from_response, parse_retry_after


def listen(message: str, code: str = "Bad Request") -> dict[str, str]:
    return {"err_code": code, "err_msg": message, "request_id": "r"}


REMOTE = "The remote server hosting the media "


@pytest.mark.parametrize(
    ("status", "body", "failure", "code"),
    [
        (400, listen("Bad Request: failed to process audio: corrupt or unsupported data"), "bad_media", "audio_unreadable"),
        (400, listen("Bad Request: No such model/language/tier combination found."), "bad_options", "upstream_refused_options"),
        (400, {"category": "INVALID_JSON", "message": "x"}, "bad_options", "upstream_refused_options"),
        (400, listen(REMOTE + "returned a client error: 404 Not Found.", "REMOTE_CONTENT_ERROR"), "bad_media", "audio_url_refused"),
        (400, listen(REMOTE + "returned a client error: 403 Forbidden.", "REMOTE_CONTENT_ERROR"), "bad_media", "audio_url_expired"),
        (400, listen("The remote server failed to return valid data.", "REMOTE_CONTENT_ERROR"), "remote_audio", "audio_url_unreachable"),
        (400, listen("URL for media download must be publicly routable.", "REMOTE_CONTENT_ERROR"), "bad_media", "audio_url_refused"),
        (401, listen("Invalid credentials.", "INVALID_AUTH"), "account", "upstream_credentials_refused"),
        (402, listen("x", "ASR_PAYMENT_REQUIRED"), "account", "upstream_out_of_credit"),
        (403, listen("x", "INSUFFICIENT_PERMISSIONS"), "account", "upstream_access_refused"),
        (408, listen("Request upload timeout.", "SLOW_UPLOAD"), "unavailable", "upstream_upload_timeout"),
        (413, "", "bad_media", "audio_too_large"),
        (422, listen("Unable to read the entire client request."), "unavailable", "upstream_upload_interrupted"),
        (429, listen("Too many requests.", "TOO_MANY_REQUESTS"), "rate_limited", "upstream_rate_limited"),
        (499, "", "unavailable", "upstream_unavailable"),
        (500, {"error_code": "INTERNAL_SERVER_ERROR"}, "unavailable", "upstream_unavailable"),
        (502, "<html>Bad gateway</html>", "unavailable", "upstream_unavailable"),
        (504, "", "too_long", "upstream_processing_timeout"),
        (200, '{"results": {"chan', "unavailable", "upstream_unavailable"),
        (404, b"UUID parsing failed", "bad_options", "upstream_refused_options"),
    ],
)  # fmt: skip
def test_each_answer_has_its_class_and_code(status, body, failure, code):
    error = from_response(status, {"dg-request-id": "req-9"}, body)

    assert (error.failure, error.code) == (failure, code)
    assert (error.status, error.request_id) == (status, "req-9")
    assert error.message


def test_the_html_of_a_gateway_is_not_shown_to_customers():
    assert "<" not in from_response(502, {}, "<html>secret host</html>").message


@time_machine.travel(datetime(2026, 11, 22, tzinfo=UTC), tick=False)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("7", 7),
        ("-3", 0),
        ("1e9", 3600),
        ("soon", None),
        ("Sun, 22 Nov 2026 00:01:00 GMT", 60),
        ("Sun, 22 Nov 2020 00:01:00 GMT", 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value, seconds):
    assert parse_retry_after(value) == seconds
