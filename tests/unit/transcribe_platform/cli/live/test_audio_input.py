"""A file is sent at its own rate, whatever kind of WAV it is."""

import struct

import pytest

from tests.support.media import Sound, make_media
from transcribe_platform.cli.live import audio_input


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(audio_input, "_pace", lambda chunks: chunks)


def read(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    found = audio_input.read_file(path)
    return list(found.frames), found.options


def wav(fields, samples, size=None):
    body = b"WAVEfmt " + struct.pack("<I", len(fields)) + fields
    size = len(samples) if size is None else size
    body += b"LIST\x03\0\0\0abc\0data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(kind, channels, rate, bits, *, sub_kind=None):
    block = channels * bits // 8
    fields = struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)
    if sub_kind is None:
        return fields
    tail = bytes.fromhex("000000001000800000aa00389b71")
    return fields + struct.pack("<HHIH", 22, bits, 0, sub_kind) + tail


@pytest.mark.parametrize(
    "fields", [fmt(1, 2, 44100, 16), fmt(0xFFFE, 2, 44100, 16, sub_kind=1)]
)
def test_16_bits_are_sent_bare_with_their_rate(tmp_path, fields):
    samples = bytes(range(256)) * 700

    chunks, options = read(tmp_path, wav(fields, samples))

    assert b"".join(chunks) == samples
    assert len(chunks[0]) == 4410 * 4
    assert options == {"encoding": "linear16", "sample_rate": 44100, "channels": 2}


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        (fmt(1, 1, 48000, 24), 144_000),
        (fmt(0xFFFE, 2, 48000, 24, sub_kind=1), 288_000),
        (fmt(3, 2, 96000, 32), 768_000),
        (fmt(7, 1, 8000, 8), 8_000),
        (fmt(1, 1, 11025, 8), 11_025),
    ],
)
def test_other_samples_are_sent_whole_at_their_own_rate(tmp_path, fields, rate):
    content = wav(fields, bytes(rate))

    chunks, options = read(tmp_path, content)

    assert (b"".join(chunks), options) == (content, {})
    assert len(chunks[0]) == round(rate / 10)


@pytest.mark.parametrize("codec", ["pcm_s24le", "pcm_f32le", "pcm_alaw"])
def test_files_of_ffmpeg_take_as_long_as_they_last(tmp_path, codec):
    chunks, _ = read(tmp_path, make_media("wav", (codec, Sound(seconds=3))))

    assert len(chunks) == pytest.approx(31, abs=2)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_size_that_is_not_known_yet_is_the_rest_of_the_file(tmp_path, size):
    chunks, _ = read(tmp_path, wav(fmt(1, 1, 8000, 16), bytes(32000), size))

    assert sum(map(len, chunks)) == 32000


def test_what_is_behind_the_samples_is_not_sent(tmp_path):
    content = wav(fmt(1, 1, 8000, 16), bytes(1600)) + b"LIST" + bytes(100)

    chunks, _ = read(tmp_path, content)

    assert b"".join(chunks) == bytes(1600)


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"not audio" * 50, b"RIFF\0\0\0\0WAVEdata"]
)
def test_any_other_file_is_sent_as_it_is(tmp_path, content):
    chunks, options = read(tmp_path, content)

    assert (b"".join(chunks), options) == (content, {})
