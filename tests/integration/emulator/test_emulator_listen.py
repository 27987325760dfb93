"""The official SDK against the emulator: calls that end well."""

import hashlib
import uuid
from pathlib import Path

import httpx
import pytest

ALL = {
    "model": "nova-3",
    "smart_format": True,
    "utterances": True,
    "diarize": True,
    "detect_language": True,
    "summarize": "v2",
    "topics": True,
    "intents": True,
    "sentiment": True,
    "detect_entities": True,
}


def test_a_url_is_fetched_and_transcribed(media, site):
    answer = media.transcribe_url(url=f"{site.url}/a.wav", model="nova-3")

    assert answer.metadata.duration == 2.0
    assert answer.metadata.sha256 == hashlib.sha256(site.audio).hexdigest()
    assert answer.results.channels[0].alternatives[0].transcript


def test_bytes_are_transcribed_and_the_engine_is_named(media, wav):
    answer = media.transcribe_file(request=wav(1.5), model="nova-3")

    (model,) = answer.metadata.models
    assert answer.metadata.duration == 1.5
    assert answer.metadata.model_info[model]["name"] == "emulator-canned"
    assert answer.metadata.model_info[model]["arch"] == "nova-3"


@pytest.mark.parametrize("is_sized", [True, False])
def test_a_generator_arrives_whole_with_and_without_a_length(
    emulator, media, wav, is_sized
):
    audio = wav(30)
    pieces = (audio[at : at + 100_000] for at in range(0, len(audio), 100_000))
    headers = {"content-length": str(len(audio))} if is_sized else {}

    answer = media.transcribe_file(
        request=pieces, request_options={"additional_headers": headers}
    )

    assert answer.metadata.sha256 == hashlib.sha256(audio).hexdigest()
    assert answer.metadata.duration == 30
    (entry,) = emulator.log()
    assert entry["bytes"] == len(audio)
    assert ("transfer-encoding" in entry["headers"]) is not is_sized


def test_the_raw_answer_carries_the_request_id_and_what_we_sent(media, wav):
    raw = media.with_raw_response.transcribe_file(
        request=wav(1), tag=["job:1", "mine"], extra=["order:7", "url:a:b"]
    )

    document = raw._response.json()
    assert raw.headers["dg-request-id"] == document["metadata"]["request_id"]
    assert uuid.UUID(document["metadata"]["request_id"])
    assert document["metadata"]["tags"] == ["job:1", "mine"]
    assert document["metadata"]["extra"] == {"order": "7", "url": "a:b"}


def test_without_options_there_is_no_punctuation_and_nothing_extra(media, wav):
    raw = media.with_raw_response.transcribe_file(request=wav(10))

    document = raw._response.json()
    (alternative,) = document["results"]["channels"][0]["alternatives"]
    assert document["results"].keys() == {"channels"}
    assert alternative.keys() == {"transcript", "confidence", "words"}
    assert alternative["words"][0].keys() == {"word", "start", "end", "confidence"}
    assert alternative["transcript"] == alternative["transcript"].lower()


def test_every_feature_has_its_place_in_the_sdk_types(media, wav):
    answer = media.transcribe_file(request=wav(60), **ALL)

    channel = answer.results.channels[0]
    alternative = channel.alternatives[0]
    assert channel.detected_language == "en"
    assert {word.speaker for word in alternative.words} == {0, 1}
    assert alternative.words[0].punctuated_word[0].isupper()
    assert alternative.paragraphs.paragraphs[0].sentences[0].text
    assert alternative.paragraphs.transcript.startswith("\nSpeaker 0: ")
    assert answer.results.utterances[0].speaker == 0
    assert answer.results.summary.short
    assert answer.results.topics.results.topics.segments[0].topics[0].topic
    assert answer.results.intents.results.intents.segments[0].intents[0].intent
    assert answer.results.sentiments.segments[0].sentiment
    assert answer.metadata.summary_info.model_uuid in answer.metadata.models
    assert answer.metadata.diarize_info.arch == "v2"


def test_words_lie_within_the_audio_in_order(media, wav):
    answer = media.transcribe_file(request=wav(20))

    words = answer.results.channels[0].alternatives[0].words
    times = [moment for word in words for moment in (word.start, word.end)]
    assert len(words) == 50
    assert times == sorted(times)
    assert times[-1] <= 20


def test_channels_are_kept_apart_only_when_asked(media, wav):
    audio = wav(5, channels=2)

    mixed = media.transcribe_file(request=audio)
    apart = media.transcribe_file(request=audio, multichannel=True, utterances=True)

    assert len(mixed.results.channels) == 1
    assert mixed.metadata.channels == 2
    assert len(apart.results.channels) == 2
    assert {utterance.channel for utterance in apart.results.utterances} == {0, 1}


def test_equal_audio_has_equal_words_and_other_audio_has_others(media, wav):
    audio = wav(5)

    first, again, other = (
        media.transcribe_file(request=sound).results.channels[0]
        for sound in (audio, audio, wav(5))
    )

    assert first == again
    assert first != other


def test_a_search_finds_what_was_said(media, wav):
    audio = wav(30)
    spoken = media.transcribe_file(request=audio).results.channels[0].alternatives[0]
    phrase = f"{spoken.words[3].word} {spoken.words[4].word}"

    answer = media.transcribe_file(request=audio, search=[phrase, "not said"])

    found, missed = answer.results.channels[0].search
    assert found.query == phrase
    assert found.hits[0].start == spoken.words[3].start
    assert missed.hits == []


def test_a_cut_upload_shows_in_the_duration(media, wav):
    audio = wav(12)

    answer = media.transcribe_file(request=audio[: len(audio) // 3])

    assert answer.metadata.duration == pytest.approx(4, abs=0.01)


def test_raw_audio_is_measured_by_its_declared_format(media):
    more = {"additional_query_parameters": {"sample_rate": 8000}}

    answer = media.transcribe_file(
        request=bytes(16_000), encoding="mulaw", request_options=more
    )

    assert answer.metadata.duration == 2.0


def test_the_number_of_words_can_be_chosen(emulator, media, wav):
    more = {"additional_query_parameters": {"emu_words": 3}}
    emulator.configure(config={"words": 7})

    by_setting = media.transcribe_file(request=wav(9))
    by_call = media.transcribe_file(request=wav(9), request_options=more)

    assert len(by_setting.results.channels[0].alternatives[0].words) == 7
    assert len(by_call.results.channels[0].alternatives[0].words) == 3


def test_a_large_upload_leaves_memory_and_the_disk_as_they_were(emulator, wav):
    before = _memory_peak(emulator)
    size = 96 * 1024 * 1024
    pieces = [wav(1)[:44].replace(b"\x80>\x00\x00", b"\xff\xff\xff\xff")]
    pieces += [bytes(1024 * 1024)] * 96

    answer = emulator.http.post(
        "/v1/listen",
        params={"emu_words": 1},
        content=iter(pieces),
        headers={"authorization": "Token k", "content-length": str(size + 44)},
    )

    assert answer.json()["metadata"]["duration"] == size / 16_000
    assert _memory_peak(emulator) - before < 24 * 1024


def test_a_client_that_leaves_is_written_down_and_frees_its_place(
    emulator, wav, eventually
):
    with pytest.raises(httpx.ReadTimeout):
        emulator.http.post(
            "/v1/listen?tag=emu:delay30",
            content=wav(1),
            headers={"authorization": "Token k"},
            timeout=0.2,
        )

    eventually(lambda: emulator.log()[0]["outcome"] == "aborted")
    assert emulator.stats()["in_flight"] == 0


def test_the_log_tells_all_but_the_key(emulator, media, wav):
    audio = wav(2)

    media.transcribe_file(request=audio, tag=["job:9"], model="nova-3")

    (entry,) = emulator.log(tag="job:9")
    assert entry["sha256"] == hashlib.sha256(audio).hexdigest()
    assert entry["headers"]["authorization"] == "(redacted)"
    assert entry["headers"]["x-fern-sdk-version"] == "7.17.0"
    assert (entry["key"], entry["project"]) == ("test-key", "default")
    assert (entry["status"], entry["outcome"]) == (200, "ok")
    assert (entry["bytes"], entry["duration"]) == (len(audio), 2.0)
    assert entry["query"] == "tag=job%3A9&model=nova-3"
    assert entry["started_at"] <= entry["finished_at"]
    assert emulator.log(since=str(entry["seq"])) == []


def _memory_peak(emulator) -> int:
    """Return the most memory the process ever had, in KiB."""
    status = Path(f"/proc/{emulator.popen.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])
