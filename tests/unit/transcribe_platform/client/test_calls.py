from datetime import UTC, datetime

import pytest

from transcribe_platform.client.calls import (
    ApiRequest,
    Patience,
    can_retry,
    parse_retry_after,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
READ = ApiRequest(method="GET", path="/")
SEND = ApiRequest(method="POST", path="/", is_repeatable=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30.0),
        ("soon", None),
        ("-3", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text, seconds):
    assert parse_retry_after(text, now=NOW) == seconds


@pytest.mark.parametrize(
    ("call", "status", "code", "again"),
    [
        (SEND, 429, "rate_limited", True),  # refused: nothing was done
        (SEND, 503, "service_unavailable", True),
        (SEND, 409, "request_in_flight", True),
        (SEND, 409, "job_state_conflict", False),
        (SEND, 502, "http_502", False),  # nobody knows
        (READ, 502, "http_502", True),
        (READ, 404, "not_found", False),
    ],
)
def test_only_what_may_be_done_twice_is_sent_again(call, status, code, again):
    assert can_retry(call, status, code) is again


def test_pauses_grow_to_a_cap_and_end():
    patience = Patience(sendings=9, first_seconds=1, cap_seconds=8)

    spans = [patience.pause_after(sending) for sending in range(1, 9)]

    for pause, longest in zip(spans, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert pause is not None
        assert longest / 2 <= pause <= longest
    assert patience.pause_after(9) is None


def test_a_named_time_is_waited_for_unless_it_is_too_long():
    patience = Patience(longest_seconds=60)

    assert patience.pause_after(1, 42) == 42
    assert patience.pause_after(1, 61) is None
