"""What the upstream says is bounded, too: its depth, its numbers, its length."""

import math

import pytest

from workers.api.live.upstream.alignment import SessionClock, read_seconds
from workers.deepgram import errors, live


def result(**fields):
    return {
        "channel_index": [0, 1],
        "start": 0.0,
        "duration": 1.0,
        "is_final": True,
        "channel": {"alternatives": [{"transcript": "a", "words": []}]},
        **fields,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"duration": 1e300},
        {"duration": math.nan},
        {"start": math.inf},
        {"start": -5.0},
        {"channel_index": [64, 65]},
        {"channel_index": [-1, 1]},
        {"channel_index": [0, 10**9]},
    ],
)
def test_a_result_that_no_stream_has_is_not_counted(fields):
    clock = SessionClock()

    with pytest.raises(ValueError):  # noqa: PT011  the reader passes over it
        clock.align(result(**fields))

    assert (clock.final, clock.channels) == (0.0, 1)
    clock.align(result())
    assert clock.final == 1.0


def test_a_duration_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError):  # noqa: PT011
        read_seconds("nan")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 50 + "1" + "}" * 50, '{"start":NaN}', "{"]
)
def test_a_message_that_cannot_be_read_says_nothing(text):
    assert live._parse(text) is None
    assert errors._parse_envelope(text) == ("", "")
