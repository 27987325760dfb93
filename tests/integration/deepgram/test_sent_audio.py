"""What of an upload reaches Deepgram, and that the ledger says so."""

import io

import pytest

from jobs.errors import UpstreamError
from jobs.models import Region
from tests.support.cases import CASES
from tests.support.media import Sound, make_media
from transcripts.backends import StoredAudio, TranscriptionRequest
from workers.deepgram.backend import DeepgramBackend

FILM = make_media("mp4", ("aac", Sound(seconds=4)), video_seconds=4)
OBS = (CASES / "media" / "obs_track1_silent.mkv").read_bytes()


@pytest.fixture
def call(emulator, settings):
    settings.DEEPGRAM_API_KEY = "test-key"

    def transcribe(audio, content_type, **options):
        source = StoredAudio(
            open=lambda: io.BytesIO(audio),
            size_bytes=len(audio),
            content_type=content_type,
        )
        request = TranscriptionRequest(
            region=Region(name="local", base_url=emulator.url),
            source=source,
            options={"model": "nova-3", **options},
            tags=("job:42", "claim:1"),
            deadline_seconds=30,
        )
        return DeepgramBackend().transcribe(request)

    return transcribe


def sent(emulator):
    (logged,) = emulator.log()
    headers = {name.lower(): value for name, value in logged["headers"].items()}
    return logged["bytes"], headers["content-type"]


@pytest.mark.parametrize("policy", ["always", "saving"])
def test_of_a_video_only_the_audio_is_sent(call, emulator, settings, policy):
    settings.SEND_AUDIO_ONLY = policy

    result = call(FILM, "video/mp4")

    size, kind = sent(emulator)
    assert size < len(FILM) * 0.5
    assert kind == "audio/x-matroska"
    assert (result.sent_bytes, result.sent_type) == (size, kind)
    assert result.document["metadata"]["duration"] == pytest.approx(4.0, abs=0.05)


@pytest.mark.parametrize(
    ("audio", "kind", "policy"),
    [
        (FILM, "video/mp4", "never"),
        (FILM, "audio/mp4", "always"),
        # It saves less than a fifth.
        (make_media("matroska", ("pcm_s16le", Sound(seconds=9)), video_seconds=0.4), "video/webm", "saving"),
        (b"RIFF" + b"not readable" * 99, "video/mp4", "always"),
    ],
    ids=["never", "no video", "saves little", "unreadable"],
)  # fmt: skip
def test_otherwise_the_whole_file_is_sent(
    call, emulator, settings, audio, kind, policy
):
    settings.SEND_AUDIO_ONLY = policy

    if audio.startswith(b"RIFF"):
        with pytest.raises(UpstreamError):
            call(audio, kind)
    else:
        assert call(audio, kind).sent_bytes == len(audio)

    assert sent(emulator) == (len(audio), kind)


def test_the_chosen_track_is_sent(call, emulator):
    result = call(OBS, "video/webm", audio_track=2)

    size, kind = sent(emulator)
    assert size < len(OBS)
    assert (result.sent_bytes, kind) == (size, "audio/x-matroska")
    assert result.document["metadata"]["duration"] == pytest.approx(5.11, abs=0.05)
    assert "audio_track" not in emulator.log()[0].get("query", "")


def test_a_track_that_cannot_be_copied_is_a_final_error(call, emulator):
    with pytest.raises(UpstreamError) as caught:
        call(OBS, "video/webm", audio_track=7)

    assert (caught.value.code, emulator.log()) == ("audio_unreadable", [])


def test_the_words_are_at_the_same_times(call, settings):
    settings.SEND_AUDIO_ONLY = "never"
    whole = call(FILM, "video/mp4").document["results"]
    settings.SEND_AUDIO_ONLY = "always"
    copied = call(FILM, "video/mp4").document["results"]

    def times(results):
        words = results["channels"][0]["alternatives"][0]["words"]
        return [round(each["start"], 1) for each in words]

    assert len(times(copied)) == pytest.approx(len(times(whole)), abs=1)
