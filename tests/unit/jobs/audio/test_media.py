"""Durations, silence and tracks of real files, compared with what a decoder returns."""

import struct
from functools import cache
from itertools import product

import pytest

from jobs.audio import declared_sizes, media_scan, probe, probe_child
from jobs.errors import InvalidRequest, UnsupportedAudio
from tests.support.cases import CASES
from tests.support.factories import make_wav
from tests.support.media import Sound, decoded_seconds, make_media

# File, seconds, whether it is silent, track.
FILES = [
    ("ts_10h.ts", 5.18, False, 1),
    ("webm_late.webm", 5.11, False, 1),
    ("ogg_late.opus", 5.11, False, 1),
    ("w_2e9.wav", 5.11, False, 1),
    ("w_odd_nopad.wav", 5.11, False, 1),
    ("w_id3v1.wav", 5.11, False, 1),
    ("w_trailing_text.wav", 5.11, False, 1),
    ("vbr_info_tag.mp3", 6.14, False, 1),
    ("inverted.wav", 5.11, False, 1),
    ("obs_track1_silent.mkv", 5.12, False, 2),
    ("chained.opus", 9.68, False, 1),
]
KINDS = [
    ("wav", "pcm_s16le", 16000),
    ("wav", "pcm_u8", 16000),
    ("wav", "pcm_f32le", 16000),
    ("wav", "pcm_mulaw", 8000),
    ("wav", "adpcm_ima_wav", 16000),
    ("w64", "pcm_s16le", 16000),
    ("aiff", "pcm_s16be", 16000),
    ("au", "pcm_s16be", 16000),
    ("caf", "alac", 16000),
    ("voc", "pcm_s16le", 16000),
    ("tta", "tta", 16000),
    ("wv", "wavpack", 16000),
    ("flac", "flac", 16000),
    ("mp3", "libmp3lame", 44100),
    ("mp3", "libmp3lame", 16000),
    ("mp3", "libmp3lame", 8000),
    ("matroska", "libmp3lame", 8000),
    ("mp2", "mp2", 44100),
    ("adts", "aac", 16000),
    ("ac3", "ac3", 48000),
    ("eac3", "eac3", 48000),
    ("ipod", "aac", 44100),
    ("mp4", "libopus", 48000),
    ("mp4", "flac", 16000),
    ("mov", "pcm_s16le", 16000),
    ("3gp", "aac", 16000),
    ("ogg", "libopus", 48000),
    ("ogg", "flac", 16000),
    ("webm", "libopus", 48000),
    ("matroska", "aac", 16000),
    ("matroska", "pcm_s16le", 16000),
    ("matroska", "libmp3lame", 44100),
    ("mpegts", "aac", 16000),
    ("mpegts", "mp2", 44100),
    ("mpegts", "libopus", 48000),
    ("mpeg", "mp2", 44100),
    ("mpeg", "ac3", 48000),
    ("avi", "pcm_s16le", 16000),
    ("avi", "libmp3lame", 44100),
    ("flv", "aac", 44100),
    ("flv", "libmp3lame", 44100),
]
# With start times, layouts and endings in turn, each kind has several of them.
OFFSETS = (0.0, 1.4, 0.3)
LAYOUTS = ("mono", "stereo")
ENDINGS = (b"", b"TAG" + bytes(125))
COMBINATIONS = [
    (*kind, offset, layout, ending)
    for kind, (offset, layout, ending) in zip(
        KINDS * 2,
        list(product(OFFSETS, LAYOUTS, ENDINGS)) * 7,
        strict=False,
    )
]
NO_LATER_DATA = {"mp4", "mov", "3gp", "ipod", "w64", "caf"}


@pytest.fixture
def store(tmp_path):
    def write(content, name="audio"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def examine(path, track=None):
    with path.open("rb", buffering=0) as file:
        return probe_child.examine(file, track=track)


@cache
def build(container, codec, rate, offset, layout):
    sound = Sound(rate=rate, layout=layout, is_inverted=layout == "stereo")
    return make_media(container, (codec, sound), offset=offset)


@pytest.mark.parametrize(("name", "seconds", "is_silent", "track"), FILES)
def test_a_file_that_was_misread_once(name, seconds, is_silent, track):
    found = probe.probe_audio(CASES / "media" / name, tenant=1)

    assert found.duration_seconds == pytest.approx(seconds, abs=0.1)
    assert (found.is_silent, found.track, found.is_estimated) == (
        is_silent,
        track,
        False,
    )


def test_there_are_enough_combinations():
    assert len({(*each[:2], *each[3:]) for each in COMBINATIONS}) >= 60


@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_the_duration_is_that_of_the_decoded_samples(store, combination):
    container, codec, rate, offset, layout, ending = combination
    content = build(container, codec, rate, offset, layout)
    ending = b"" if container in NO_LATER_DATA else ending

    facts = examine(store(content + ending))

    assert facts["duration_seconds"] == pytest.approx(decoded_seconds(content), abs=0.1)
    assert facts["duration_seconds"] == pytest.approx(3.0, abs=0.13)
    assert (facts["is_silent"], facts["is_estimated"]) == (False, False)


@pytest.mark.parametrize("container", ["webm", "ogg", "mpegts", "matroska", "flv"])
@pytest.mark.parametrize("offset", [3600.0, 36000.0])
def test_a_recording_that_starts_late_is_no_longer(store, container, offset):
    codec, rate = ("libmp3lame", 44100) if container == "flv" else ("libopus", 48000)
    content = make_media(container, (codec, Sound(rate=rate)), offset=offset)

    assert examine(store(content))["duration_seconds"] == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_chained_streams_are_added(store, number, codec):
    rate = 48000 if codec == "libopus" else 16000
    one = make_media("ogg", (codec, Sound(rate=rate)))

    facts = examine(store(one * number))

    assert facts["duration_seconds"] == pytest.approx(3.0 * number, abs=0.1)


@pytest.mark.parametrize(
    "size", [0, 2_000_000_000, 0x7FF00000, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
             0xFFFFFFFF - 36, 1_000_000_000, 0x7FFFF000, 0x40000000 - 44, 0x20000000]
)  # fmt: skip
@pytest.mark.parametrize("outer", ["same", "zero", "right"])
def test_a_size_that_was_written_before_the_audio_is_no_evidence(store, size, outer):
    content = bytearray(make_wav(2.0))
    content[40:44] = struct.pack("<I", size)
    outer_size = {
        "same": min(size + 36, 0xFFFFFFFF),
        "zero": 0,
        "right": len(content) - 8,
    }
    content[4:8] = struct.pack("<I", outer_size[outer])

    assert examine(store(bytes(content)))["duration_seconds"] == pytest.approx(2.0)


@pytest.mark.parametrize("seconds", [1.0, 1.9])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_an_ordinary_size_that_is_missing_is_evidence(store, seconds, rate):
    content = make_media("wav", ("pcm_s16le", Sound(seconds=10, rate=rate)))
    length = int(seconds * rate * 2)

    assert examine(store(content[: 100 + length])) == {"error": "audio_truncated"}


@pytest.mark.parametrize(
    "behind",
    [
        b"TAG" + bytes(125),
        b"written by a recorder\n" * 9,
        bytes(5000),
        b"id3 \xff\xff\xff\xff",
    ],
)
@pytest.mark.parametrize("samples", [7999, 8000])
def test_what_follows_the_audio_of_a_wav_file_does_not_matter(store, behind, samples):
    head = struct.pack("<IHHIIHH4sI", 16, 1, 1, 8000, 8000, 1, 8, b"data", samples)
    body = b"WAVEfmt " + head + bytes(range(128, 228)) * 80
    content = (
        b"RIFF" + struct.pack("<I", len(body) - 80 + samples) + body[: 36 + samples]
    )

    facts = examine(store(content + behind))

    assert facts["duration_seconds"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("word", [b"Info", b"Xing", b"VBRI"])
def test_a_word_in_a_comment_is_no_length_tag(store, word):
    plain = make_media(
        "mp3", ("libmp3lame", Sound(rate=44100)), write_xing="0", id3v2_version="0"
    )
    comment = b"TXXX\0\0\0\x12\0\0\x03comment\0" + word.ljust(9, b"!")
    tag = b"ID3\x04\0\0\0\0\0" + bytes([len(comment)]) + comment

    facts = examine(store(tag + plain))

    assert facts["duration_seconds"] == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("rate", [44100, 48000, 22050, 16000, 11025, 8000])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_the_length_tag_of_an_mp3_file_is_read(store, rate, layout):
    content = make_media("mp3", ("libmp3lame", Sound(rate=rate, layout=layout)))

    with store(content).open("rb") as file:
        assert declared_sizes.find_mp3_seconds(file) == pytest.approx(3.0, abs=0.2)
    assert examine(store(content[: len(content) // 2])) == {"error": "audio_truncated"}


def make_film(*volumes, seconds=6.0):
    sounds = [("aac", Sound(volume=volume)) for volume in volumes]
    titles = ("Desktop", "Mikrofon\u2067", "Gast")
    return make_media("matroska", *sounds, video_seconds=seconds, titles=titles)


def test_the_first_track_that_is_not_silent_is_described(store):
    found = probe.probe_audio(store(make_film(0, 0.3, 0.3)), tenant=1)

    assert (found.track, found.is_silent, found.has_video) == (2, False, True)
    assert found.duration_seconds == pytest.approx(3.0, abs=0.1)
    (warning,) = found.find_warnings()
    assert warning == {
        "code": "several_audio_tracks",
        "detail": "The file has 3 audio tracks: 1 (aac, 1 channel, 'Desktop', silent);"
        " 2 (aac, 1 channel, 'Mikrofon'); 3 (aac, 1 channel, 'Gast'). Track 2 is"
        " transcribed; the option audio_track chooses another.",
    }


def test_a_track_can_be_chosen_even_if_it_is_silent(store):
    film = store(make_film(0, 0.3))

    found = probe.probe_audio(film, tenant=1, track=1)

    assert (found.track, found.is_silent) == (1, True)
    with pytest.raises(InvalidRequest) as caught:
        probe.probe_audio(film, tenant=1, track=3)
    assert caught.value.pointer == "/options/audio_track"
    assert caught.value.message == "The file has 2 audio tracks."


def test_all_tracks_silent_is_the_first(store):
    found = probe.probe_audio(store(make_film(0, 0)), tenant=1)

    assert (found.track, found.is_silent) == (1, True)


def test_a_shorter_track_than_the_video_is_not_cut_off(store):
    facts = examine(store(make_film(0.3, seconds=12.0)))

    assert facts["duration_seconds"] == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
def test_one_channel_with_sound_is_not_silence(store, layout):
    sound = Sound(layout=layout, is_inverted=layout == "stereo")

    assert examine(store(make_media("wav", ("pcm_s16le", sound))))["is_silent"] is False


def test_sound_after_a_long_silence_is_found(store):
    silence = make_wav(200.0, volume=0)[44:]
    loud = make_wav(40.0)[44:]
    samples = silence + loud
    head = struct.pack(
        "<IHHIIHH4sI", 16, 1, 1, 8000, 16000, 2, 16, b"data", len(samples)
    )
    content = (
        b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt " + head + samples
    )

    assert examine(store(content))["is_silent"] is False


@pytest.mark.parametrize("container", ["mp3", "adts", "mpegts", "ogg", "wav"])
def test_the_duration_of_a_large_file_is_an_estimate(store, monkeypatch, container):
    codec = {"mp3": "libmp3lame", "ogg": "libopus", "wav": "pcm_s16le"}.get(
        container, "aac"
    )
    rate = {"libmp3lame": 44100, "libopus": 48000}.get(codec, 16000)
    content = make_media(container, (codec, Sound(seconds=20.0, rate=rate)))
    monkeypatch.setattr(probe_child, "EXACT_BYTES", 1000)
    monkeypatch.setattr(probe_child, "LARGE_SECONDS", 0.0)
    packets = 500 if container == "ogg" else 200  # a page has many packets
    monkeypatch.setattr(media_scan, "CLOCK_INTERVAL", packets)

    facts = examine(store(content))

    assert facts["is_estimated"] is True
    assert facts["duration_seconds"] == pytest.approx(20.0, rel=0.15)


def test_the_formats_of_the_message_are_those_of_the_probe():
    with pytest.raises(UnsupportedAudio) as caught:
        probe.probe_audio(CASES / "manifests" / "excel_TRUE.csv", tenant=1)

    assert caught.value.code == "audio_unreadable"
    assert "Matroska and WebM" in caught.value.message
