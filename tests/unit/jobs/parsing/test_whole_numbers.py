"""Numbers that others write are read without an exception."""

from datetime import UTC, datetime

import pytest

from jobs.api.event_stream import EventPosition
from jobs.parsing.whole_numbers import parse_whole_number
from jobs.rest.parsers import get_content_length
from transcribe_platform.client.calls import parse_retry_after as read_by_client
from transcribe_platform.middleware.arriving_bodies import ArrivingBody
from workers.deepgram.errors import MAX_RETRY_AFTER_SECONDS, parse_retry_after
from workers.deepgram.reconcile import _parse_number
from workers.webhooks.delivery.schedule import parse_retry_after as read_by_schedule

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MANY = "9" * 5000  # int() refuses more than 4,300 digits
FAR_YEARS = [f"Fri, 31 Dec {'9' * 20} 23:59:59 GMT", f"Fri, 31 Dec {MANY} 00:00:00 GMT"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        (MANY, None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1_000", None),
        ("\u0661", None),
        ("\u00b2", None),
    ],
)
def test_a_number_is_a_few_ascii_digits(text, number):
    assert parse_whole_number(text) == number


@pytest.mark.parametrize("text", [MANY, "\u0661", "abc", "", "-1"])
def test_a_content_length_that_is_no_number_counts_as_none(text):
    request = type("Request", (), {"META": {"CONTENT_LENGTH": text}})

    assert get_content_length({"request": request}) == 0
    assert ArrivingBody(None, {"CONTENT_LENGTH": text})._left == 0


def test_a_last_event_id_of_many_digits_is_no_position():
    with pytest.raises(ValueError, match="9"):
        EventPosition.parse(f"{MANY}-{'0' * 32}")


@pytest.mark.parametrize("text", ["nan", *FAR_YEARS])
def test_a_retry_after_that_no_clock_has_is_ignored(text):
    assert parse_retry_after(text) is None
    assert read_by_schedule(text, now=NOW) is None
    assert read_by_client(text, now=NOW) is None


def test_a_retry_after_of_many_digits_is_as_long_as_may_be():
    assert parse_retry_after(MANY) == MAX_RETRY_AFTER_SECONDS
    assert read_by_schedule(MANY, now=NOW) == float("9" * 12)
    assert read_by_client(MANY, now=NOW) == float("inf")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, 0.0),
        ("200", 200.0),
        (12.5, 12.5),
        ("x", 0.0),
        (float("nan"), 0.0),
        (10**400, 0.0),
        ([], 0.0),
        ([1], 0.0),
    ],
)
def test_a_number_of_the_upstreams_log_is_finite(value, number):
    assert _parse_number(value) == number
