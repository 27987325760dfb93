from datetime import UTC, datetime

from transcripts.documents import parse_summary
from transcripts.live.documents import Segment, build_document, has_words


def word(text, start, **fields):
    return {"word": text, "start": start, "end": start + 0.4, "confidence": 0.5} | (
        fields
    )


def segment(start, *words, channel=0, speech_final=True, **alternative):
    text = " ".join(each["word"] for each in words)
    return Segment(
        channel=channel,
        start=start,
        end=start + 1,
        speech_final=speech_final,
        alternative={"transcript": text, "words": list(words)} | alternative,
    )


def build(*segments, channels=1):
    return build_document(
        segments,
        channels=channels,
        seconds=9.0,
        request_id="r",
        model_info={"m": {"name": "nova"}},
        created=datetime(2026, 11, 25, tzinfo=UTC),
    )


def utterances(document):
    return [
        (each["channel"], each.get("speaker"), each["start"], each["transcript"])
        for each in document["results"]["utterances"]
    ]


def test_results_up_to_a_pause_are_one_utterance():
    document = build(
        segment(0, word("we", 0), speech_final=False),
        segment(1, word("go", 1)),
        segment(2),
        segment(3, word("now", 3), speech_final=False),
    )

    assert utterances(document) == [(0, None, 0, "we go"), (0, None, 3, "now")]
    summary = parse_summary(document)
    assert summary is not None
    assert (summary.text, summary.words, summary.model) == ("we go now", 3, "nova")
    assert (summary.duration_seconds, summary.confidence) == (9.0, 0.5)


def test_an_utterance_is_one_speakers():
    said = [word("hi", 0, speaker=0), word("yes", 1, speaker=1)]

    assert utterances(build(segment(0, *said))) == [(0, 0, 0, "hi"), (0, 1, 1, "yes")]


def test_channels_are_apart_and_told_in_the_order_of_time():
    document = build(
        segment(2, word("b", 2), channel=1), segment(0, word("a", 0)), channels=2
    )

    assert utterances(document) == [(0, None, 0, "a"), (1, None, 2, "b")]
    assert document["metadata"]["channels"] == 2
    texts = [each["alternatives"][0] for each in document["results"]["channels"]]
    assert [each["transcript"] for each in texts] == ["a", "b"]


def test_text_without_words_is_an_utterance_too():
    document = build(segment(0, transcript="Hello.", confidence=0.5))

    assert document["results"]["utterances"] == [
        {
            "start": 0,
            "end": 1,
            "confidence": 0.5,
            "channel": 0,
            "transcript": "Hello.",
            "words": [],
        }
    ]


def test_text_is_what_a_database_takes():
    document = build(segment(0, transcript="a\0b\ud800 "))

    summary = parse_summary(document)
    assert summary is not None
    assert summary.text == "ab"


def test_nothing_said_is_a_document_all_the_same():
    silent = segment(0, words="nonsense")

    assert not has_words([silent])
    assert build(silent)["results"]["utterances"] == []
    assert build()["results"]["channels"] == [
        {"alternatives": [{"transcript": "", "confidence": 0.0, "words": []}]}
    ]
