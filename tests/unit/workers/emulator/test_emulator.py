"""The small pure parts: limits, latency, journal, audio, words, documents."""

import io
import json
import struct
import wave

import pytest

from tests.support.cases import CASES
from workers.emulator import audio, config, engines, journal, keys, limits, prerecorded
from workers.emulator.engines import canned, recognizer, sphinx
from workers.emulator.faults import chance
from workers.emulator.protocol import options, refusals
from workers.emulator.results import documents, insights, passages


def spoken(*entries: tuple[str, float, float], speaker=None) -> list[engines.Word]:
    return [
        engines.Word(
            text=text.strip(".").lower(),
            written=text,
            start=start,
            end=end,
            confidence=0.9,
            speaker=speaker,
        )
        for text, start, end in entries
    ]


def wav(seconds: float, *, promised: int | None = None, extra: bytes = b"") -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(int(seconds * 8000) * 4))
    content = file.getvalue()
    head, data = content[:36], content[44:]
    length = len(data) if promised is None else promised
    return head + extra + b"data" + struct.pack("<I", length) + data


def measured(content: bytes) -> audio.Measure:
    sound = audio.Audio(sha256="", size_bytes=len(content), content=content)
    return audio.measure(sound, None)


def test_a_wav_of_very_many_chunks_is_not_walked(monkeypatch):
    monkeypatch.setattr(audio, "_measure_packets", lambda _stream: None)
    few, many = (struct.pack("<4sI", b"junk", 0) * number for number in (900, 1100))

    assert measured(wav(2.0, extra=few)).duration == 2.0
    with pytest.raises(refusals.Refused):
        measured(wav(2.0, extra=many))


def test_the_window_slides_and_refusals_do_not_count():
    limiter = limits.Limiter()
    tuning = config.Tuning(rate_per_minute=2)

    def is_granted(now: float) -> bool:
        try:
            limiter.acquire("p", tuning=tuning, now=now).release()
        except refusals.Refused:
            return False
        return True

    granted = [is_granted(now) for now in (0, 30, 59, 60, 61, 89, 90)]

    assert granted == [True, True, False, True, False, False, True]
    assert limiter.report(90)["max_in_window"] == 2
    assert limiter.report(90)["refused"] == 3


def test_a_permit_is_given_back_once_only():
    limiter = limits.Limiter()
    permit = limiter.acquire("p", tuning=config.Tuning(), now=0)

    permit.release()
    permit.release()

    assert limiter.report(0)["in_flight"] == 0
    assert limiter.report(0)["max_in_flight"] == 1


def test_fractions_spread_and_repeat():
    drawn = [chance.fraction(7, n) for n in range(1000)]

    assert drawn == [chance.fraction(7, n) for n in range(1000)]
    assert 0 <= min(drawn) < 0.02
    assert 0.98 < max(drawn) < 1


def test_latency_adds_its_shares():
    tuning = config.Tuning(
        latency_base=1,
        latency_per_second_of_audio=0.1,
        latency_min=2,
        latency_max=4,
    )

    drawn = [
        prerecorded.choose_latency(tuning, audio_seconds=30, seed=0, call=str(n))
        for n in range(200)
    ]

    assert 6 <= min(drawn) < 6.1
    assert 7.9 < max(drawn) <= 8


@pytest.mark.parametrize(
    "change", [{"words": 1.5}, {"concurrency": True}, {"latency_base": None}, {"x": 1}]
)
def test_senseless_settings_are_refused(change):
    with pytest.raises(config.InvalidTuning):
        config.Tuning().changed(change)


def test_the_journal_forgets_the_oldest_but_not_the_counts():
    book = journal.Journal(3)
    for n in range(5):
        entry = journal.Entry(
            request_id=str(n),
            started_at=n,
            method="POST",
            path="/",
            query="",
            tags=(),
            headers=journal.write_headers({"Authorization": "Token x", "A": "b"}),
        )
        book.open(entry)
        book.close(entry, status=200, outcome=journal.Outcome.OK, now=n + 1)
        book.close(entry, status=500, outcome=journal.Outcome.ERROR, now=n + 2)

    assert [entry.seq for entry in book.since(0)] == [3, 4, 5]
    assert [entry.seq for entry in book.since(4)] == [5]
    assert [entry.request_id for entry in book.newest_first()] == ["4", "3", "2"]
    assert book.report()["by_status"] == {"200": 5}
    assert next(book.since(0)).describe()["headers"] == {
        "authorization": "(redacted)",
        "a": "b",
    }


def test_a_long_key_is_not_shown_whole():
    ring = keys.KeyRing(allowed=None, projects={"short": "mine"})

    short = ring.identify("Token short")
    long = ring.identify("bearer 0123456789012345678901234567890123456789")

    assert (short.shown_key, short.project) == ("short", "mine")
    assert (long.shown_key, long.project) == ("0123…6789", "default")
    assert short.project_id != long.project_id


@pytest.mark.parametrize(
    "content",
    [
        wav(2),
        wav(2, promised=0xFFFFFFFF),
        wav(2, promised=0),
        wav(2, promised=64_000_000),
        wav(2, extra=b"LIST\x03\x00\x00\x00abc\x00"),
    ],
)
def test_a_wav_lasts_as_long_as_what_arrived(content):
    assert measured(content) == audio.Measure(duration=2.0, channels=2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF\x00\x00\x00\x00WAVE",
        wav(1)[:30],
        wav(1).replace(b"\x40\x1f\x00\x00", bytes(4), 1),
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n",
    ],
)
def test_what_cannot_be_measured_is_refused(content):
    with pytest.raises(refusals.Refused) as caught:
        measured(content)

    assert caught.value.refusal is refusals.CORRUPT_AUDIO


def test_a_large_body_goes_to_a_file_and_a_refused_one_leaves_none(tmp_path):
    limit = audio.MEMORY_BYTES + 10
    spool = audio.Spool(directory=tmp_path, limit_bytes=limit)
    spool.write(b"a" * audio.MEMORY_BYTES)
    assert list(tmp_path.iterdir()) == []
    spool.write(b"b" * 10)
    (path,) = tmp_path.iterdir()

    sound = spool.finish()

    assert sound.content == path
    assert path.read_bytes().endswith(b"ab" + b"b" * 9)
    sound.discard()
    sound.discard()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(refusals.Refused):
        spool.write(b"c")


def test_what_was_heard_gets_capitals_and_full_stops_at_pauses():
    heard = [
        recognizer.RecognizedWord(text=text, start=start, end=end, confidence=0.5)
        for text, start, end in (
            ("hello", 0.0, 0.4),
            ("there", 0.4, 0.8),
            ("i'm", 1.5, 1.8),
            ("late", 1.8, 2.0),
            ("and", 2.5, 2.6),
            ("i", 2.6, 2.7),
        )
    ]

    words = sphinx.punctuate(heard)

    written = " ".join(word.written for word in words)
    assert written == "Hello there. I'm late and I."


def test_speakers_split_sentences_utterances_and_paragraphs():
    words = [
        *spoken(("One", 0, 1), ("two.", 1, 2), ("Three", 2, 3), speaker=0),
        *spoken(("four", 3, 4), ("five.", 4, 5), speaker=1),
    ]

    assert list(passages.split_sentences(words)) == [(0, 2), (2, 3), (3, 5)]
    assert list(passages.split_utterances(words, 0.8)) == [(0, 3), (3, 5)]
    assert list(passages.group_paragraphs(words)) == [[(0, 2), (2, 3)], [(3, 5)]]
    assert list(passages.split_sentences([])) == []


def test_a_pause_longer_than_asked_splits_an_utterance():
    words = spoken(("one", 0, 1), ("two", 1.8, 2), ("three", 2.81, 3))

    assert list(passages.split_utterances(words, 0.8)) == [(0, 2), (2, 3)]


def test_insights_of_silence_are_empty():
    results = insights.build_results([], list(insights.FEATURES))

    assert results["summary"]["short"] == ""
    assert results["sentiments"] == {
        "segments": [],
        "average": {"sentiment": "neutral", "sentiment_score": 0.0},
    }


def test_a_document_of_an_engine_that_invents_nothing_says_what_is_missing():
    engine = sphinx.SphinxEngine(1)
    query = "topics=true&diarize=true&detect_entities=true&sentiment=true"
    shape = options.parse_options(options.split_query(query)).shape
    sound = audio.Audio(sha256="00", size_bytes=0, content=b"")
    words = tuple(spoken(("One", 0, 1), ("monday.", 1, 2)))
    measure = audio.Measure(duration=2, channels=1)

    document = documents.build_document(sound, measure, shape, (words,), engine)

    results = json.loads(document.results)
    assert results.keys() == {"channels"}
    assert "entities" not in results["channels"][0]["alternatives"][0]
    missing = {warning["parameter"] for warning in document.metadata["warnings"]}
    assert missing == {"topics", "diarize", "detect_entities", "sentiment"}


@pytest.mark.parametrize(
    ("words", "duration", "count"),
    [(None, 10.0, 25), (None, 0.0, 0), (0, 10.0, 0), (9, 0.0, 9), (10**9, 1.0, 20_000)],
)
def test_canned_words_are_counted_by_duration_or_order(words, duration, count):
    assignment = engines.RecognitionRequest(
        media=audio.Audio(sha256="ab" * 32, size_bytes=0, content=b""),
        measure=audio.Measure(duration=duration, channels=1),
        shape=options.Shape(),
        words=words,
    )

    (found,) = canned.generate(assignment)

    assert len(found) == count
    assert all(word.end <= duration for word in found)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("ts_10h.ts", 5.18), ("webm_late.webm", 5.11), ("ogg_late.opus", 5.11), ("chained.opus", 9.68),
     ("w_2e9.wav", 5.11), ("w_odd_nopad.wav", 5.11), ("vbr_info_tag.mp3", 6.14), ("inverted.wav", 5.11)],
)  # fmt: skip
def test_the_length_is_that_of_the_samples(name, seconds):
    content = (CASES / "media" / name).read_bytes()
    sound = audio.Audio(sha256="", size_bytes=len(content), content=content)

    assert audio.measure(sound, None).duration == pytest.approx(seconds, abs=0.1)
