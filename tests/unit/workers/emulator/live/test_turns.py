"""The turns that the emulator tells for recognition events."""

import json

import pytest

from workers.emulator import engines
from workers.emulator.engines.live import events
from workers.emulator.live.turns import TurnWriter


def word(text, start):
    return engines.Word(
        text=text, written=text, start=start, end=start + 0.5, confidence=0.9
    )


def result(*words, end, is_final=False, speech_final=False, from_finalize=False):
    return events.Result(
        channel=0,
        start=0.0,
        end=end,
        words=words,
        is_final=is_final,
        speech_final=speech_final,
        from_finalize=from_finalize,
    )


@pytest.fixture
def writer():
    return TurnWriter(request_id="r", thresholds={"eager_eot_threshold": 0.5})


def tell(writer, event):
    told = [json.loads(text) for text in writer.write(event)]
    return [(each["event"], each["turn_index"], each["transcript"]) for each in told]


def test_speech_that_goes_on_resumes_a_turn(writer):
    assert json.loads(writer.open())["sequence_id"] == 0
    assert tell(writer, result(end=1)) == [("Update", 0, "")]
    assert tell(writer, result(word("a", 1), end=2)) == [
        ("StartOfTurn", 0, "a"),
        ("Update", 0, "a"),
    ]
    assert tell(writer, result(word("a", 1), end=3, is_final=True)) == [
        ("EagerEndOfTurn", 0, "a")
    ]
    assert tell(writer, result(word("b", 3), end=4)) == [
        ("TurnResumed", 0, "a b"),
        ("Update", 0, "a b"),
    ]
    assert tell(
        writer, result(word("b", 3), end=5, is_final=True, speech_final=True)
    ) == [("EagerEndOfTurn", 0, "a b"), ("EndOfTurn", 0, "a b")]
    assert tell(writer, result(word("c", 6), end=7))[0] == ("StartOfTurn", 1, "c")


def test_a_closed_stream_ends_no_turn(writer):
    tell(writer, result(word("a", 1), end=2))
    writer.is_closing = True

    told = tell(writer, result(word("a", 1), end=3, is_final=True, speech_final=True))

    assert "EndOfTurn" not in {event for event, *_ in told}
