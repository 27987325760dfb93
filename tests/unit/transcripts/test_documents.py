import pytest

from tests.support.fake_backend import document
from transcripts.documents import SUSPECT, find_warnings, parse_summary


def test_a_document_is_summed_up():
    summary = parse_summary(document("hello there world", duration=3.5))

    assert summary is not None
    assert summary.text == "hello there world"
    assert (summary.words, summary.channels) == (3, 1)
    assert (summary.duration_seconds, summary.model) == (3.5, "fake")
    assert summary.confidence == pytest.approx(0.9)


def test_channels_are_joined_by_lines():
    one = document("left side")
    other = document("right side")
    one["results"]["channels"] += other["results"]["channels"]

    summary = parse_summary(one)

    assert summary is not None
    assert summary.text == "left side\nright side"
    assert summary.channels == 2


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"unexpected": True},
        {"metadata": None, "results": {}},
        {"metadata": {"duration": 1}, "results": {"channels": None}},
        {"metadata": {}, "results": {"channels": []}},
    ],
)
def test_what_is_no_transcript_is_told_from_an_empty_one(odd):
    assert parse_summary(odd) is None


@pytest.mark.parametrize(
    "channel", [None, {}, {"alternatives": None}, {"alternatives": [None]}]
)
def test_odd_channels_are_read_as_empty(channel):
    odd = {
        "metadata": {"duration": 2, "model_info": []},
        "results": {"channels": [channel]},
    }

    summary = parse_summary(odd)

    assert summary is not None
    assert (summary.text, summary.words, summary.confidence) == ("", 0, None)


@pytest.mark.parametrize(
    ("got", "expected", "suspect"),
    [(60.0, 60.0, False), (58.0, 60.0, False), (55.0, 60.0, True), (20.0, 60.0, True)],
)
def test_a_duration_far_from_the_probe_is_a_warning(got, expected, suspect):
    summary = parse_summary(document(duration=got))
    assert summary is not None

    found = find_warnings(summary, expected_seconds=expected, expected_channels=None)

    assert [each["code"] for each in found] == ["duration_mismatch"] * suspect


def test_silence_is_a_warning_and_not_a_failure():
    summary = parse_summary(document(""))
    assert summary is not None

    found = find_warnings(summary, expected_seconds=None, expected_channels=None)

    assert [each["code"] for each in found] == ["no_speech"]


def test_no_text_for_audio_that_is_not_silent_is_suspect():
    summary = parse_summary(document(""))
    assert summary is not None

    found = find_warnings(
        summary, expected_seconds=None, expected_channels=2, is_silent=False
    )

    codes = {each["code"] for each in found}
    assert codes == {"channel_missing", "empty_transcript"} <= SUSPECT


@pytest.mark.parametrize(
    "duration", [None, "2.5", True, -1, float("nan"), float("inf"), 1e300, [], {}]
)
def test_a_length_that_is_none_makes_no_transcript(duration):
    assert parse_summary(document(duration=duration)) is None
