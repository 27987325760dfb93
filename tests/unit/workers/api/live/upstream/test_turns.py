"""Turns on the session's clock, and as results to store."""

import pytest

from workers.api.live.upstream.alignment import SessionClock
from workers.api.live.upstream.turns import Turns, build_alternative
from workers.api.live.wire_format import MessageKind


def turn(event, *, end=2.0, words=("a",), index=0, **more):
    return {
        "type": "TurnInfo",
        "event": event,
        "turn_index": index,
        "audio_window_start": 1.0,
        "audio_window_end": end,
        "transcript": " ".join(words),
        "words": [
            {"word": each, "confidence": 0.5, "start": 1.0, "end": 1.5}
            for each in words
        ],
        "end_of_turn_confidence": 0.1,
        **more,
    }


@pytest.fixture
def clock():
    return SessionClock()


def test_a_turn_that_begins_again_after_a_reconnect_is_an_update(clock):
    turns = Turns(clock)
    first = turns.read(turn("StartOfTurn"))
    ended = turns.read(turn("EndOfTurn", trigger="model"))
    second = turns.read(turn("StartOfTurn", end=3.0, index=1))
    clock.offset = 2.0
    again = turns.read(turn("StartOfTurn", index=0))

    assert [it.upstream["event"] for it in (first, ended, second, again)] == [
        *("StartOfTurn", "EndOfTurn", "StartOfTurn", "Update"),
    ]
    assert [it.upstream["turn_index"] for it in (first, ended, second, again)] == [
        *(0, 0, 1, 1),
    ]
    assert again.upstream["words"][0]["start"] == 3.0
    assert again.fields["end"] == 4.0


def test_only_updates_may_be_replaced(clock):
    turns = Turns(clock)
    kinds = ["StartOfTurn", "Update", "EagerEndOfTurn", "TurnResumed", "EndOfTurn"]

    told = [turns.read(turn(kind)) for kind in kinds]

    assert [each.is_interim for each in told] == [False, True, False, False, False]
    assert [each.kind == MessageKind.TURN for each in told] == [
        *(True, False, True, True, False),
    ]


def test_audio_is_final_at_the_end_of_a_turn_and_in_silence(clock):
    turns = Turns(clock)
    turns.read(turn("Update", end=1.0, words=()))
    assert clock.final == 1.0
    turns.read(turn("StartOfTurn", end=2.0))
    turns.read(turn("Update", end=3.0))
    assert clock.final == 1.0
    turns.read(turn("EndOfTurn", end=4.0))
    assert clock.final == 4.0


def test_words_without_times_are_stored_as_text(clock):
    message = turn("EndOfTurn")
    message["words"] = [{"word": "Bach.", "confidence": 0.5}]

    stored = build_alternative(Turns(clock).read(message))

    assert stored["transcript"] == "a"
    assert stored["confidence"] == 0.5
    assert stored["words"] == [
        {"word": "Bach.", "punctuated_word": "Bach.", "confidence": 0.5}
    ]


@pytest.mark.parametrize("broken", [{"words": None}, {"audio_window_end": "x"}])
def test_an_invalid_message_raises(clock, broken):
    with pytest.raises((TypeError, ValueError)):
        Turns(clock).read({**turn("Update"), **broken})
