"""The header of a WAV stream, however it arrives and whatever it says."""

import time

import pytest

from jobs.errors import InvalidRequest
from tests.support.wav import RIFF, chunk, format_of, header
from workers.api.live.upstream import chunks, replay_buffer
from workers.api.live.upstream.chunks import Chunk, TooMuchAudio, build_chunker
from workers.api.live.upstream.replay_buffer import ReplayBuffer
from workers.api.live.upstream.wav import (
    MAX_CHUNKS,
    MAX_HEADER_BYTES,
    State,
    WavHeader,
    read_rate,
)

MIB = 1024**2


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_header_is_the_same_however_it_arrives(size):
    stream, chunker, found = header() + bytes(32_000), build_chunker({}), []
    for begin in range(0, len(stream), size):
        found += chunker.split(stream[begin : begin + size], at=0.0)

    assert chunker.header == header()
    assert b"".join(each.data for each in found) == bytes(32_000)
    assert chunker.duration() == 1.0


@pytest.mark.parametrize(
    ("fields", "per_second", "frame"),
    [
        ({}, 32_000, 2),
        ({"channels": 2, "sample_rate": 48_000, "bits": 24}, 288_000, 6),
        ({"kind": 3, "bits": 32}, 64_000, 4),
        ({"kind": 0xFFFE, "bits": 20, "block": 3, "byte_rate": 48_000}, 48_000, 3),
        ({"kind": 7, "sample_rate": 8000, "bits": 8}, 8000, 1),
        # Written by recorders of pages: none at all.
        ({"byte_rate": 0, "block": 0}, 32_000, 2),
        # ADPCM
        (
            {
                "kind": 2,
                "sample_rate": 8000,
                "byte_rate": 4096,
                "block": 256,
                "bits": 4,
            },
            4096,
            256,
        ),
    ],
)
def test_a_plausible_format_is_a_rate(fields, per_second, frame):
    rate = read_rate(format_of(**fields))

    assert (rate.bytes_per_second, rate.frame_bytes) == (per_second, frame)


@pytest.mark.parametrize(
    "fields",
    [
        {"byte_rate": 1},
        {"byte_rate": 64_000, "block": 4},
        {"byte_rate": 64_000},
        {"block": 4},
        {"byte_rate": 0xFFFFFFFF},
        {"block": 0xFFFF},
        {"bits": 0, "byte_rate": 1, "block": 1},
        {"bits": 65},
        {"sample_rate": 1},
        {"sample_rate": 0},
        {"sample_rate": 400_000},
        {"channels": 0},
        {"channels": 65, "bits": 8},
        {"kind": 2, "byte_rate": 1, "block": 1},
        {"kind": 2, "byte_rate": 0xFFFFFFFF},
    ],
)
def test_an_implausible_format_is_refused_before_anything_is_cut(fields):
    with pytest.raises(InvalidRequest) as refused:
        build_chunker({}).split(header(**fields) + bytes(MIB), at=0.0)

    assert refused.value.code == "audio_unreadable"


def test_a_format_without_a_rate_is_timed_by_its_arrival():
    chunker = build_chunker({})
    stream = header(kind=2, byte_rate=0, block=0, bits=0) + b"x"

    (chunk,) = chunker.split(stream, at=3.0)

    assert (chunk.data, chunk.rate, chunker.duration()) == (stream, None, 3.0)


def test_a_header_of_empty_chunks_is_given_up():
    wav, began = WavHeader(), time.process_time()
    states = [wav.feed(bytes([each])) for each in RIFF + chunk(b"junk") * 8192]

    assert states.index(State.UNKNOWN) == len(RIFF) + 8 * (MAX_CHUNKS + 1) - 1
    assert time.process_time() - began < 1.0


def test_a_header_that_does_not_end_is_given_up():
    wav, state = WavHeader(), State.PARTIAL
    wav.feed(RIFF + b"junk\xff\xff\xff\xff")
    while state is State.PARTIAL:
        state = wav.feed(bytes(1000))

    assert len(wav.data) <= MAX_HEADER_BYTES + 1000
    assert wav.feed(bytes(MIB)) is State.UNKNOWN


def test_other_containers_are_not_read_as_wav():
    stream = b"\x1aE\xdf\xa3" + b"." * 8 + chunk(b"fmt ", bytes(16))

    (found,) = build_chunker({}).split(stream, at=1.0)

    assert found.data == stream


def test_one_message_is_few_pieces():
    raw = {"encoding": "mulaw", "sample_rate": 1000, "channels": 1}
    slowest = build_chunker(raw).split(bytes(MIB), at=0.0)
    adpcm = header(kind=2, sample_rate=1000, byte_rate=500, block=1)
    compressed = build_chunker({}).split(adpcm + bytes(MIB), at=0.0)

    assert len(slowest) < 2200
    assert len(compressed) < 4300


@pytest.mark.parametrize("options", [{"encoding": "mulaw", "sample_rate": 8000}, {}])
def test_audio_past_the_longest_session_is_not_cut(options, monkeypatch):
    chunker = build_chunker(options, max_seconds=2.0)
    begin = b"" if options else header(kind=7, sample_rate=8000, bits=8)
    chunker.split(begin + bytes(16_000), at=0.0)
    monkeypatch.setattr(chunks, "Chunk", None)

    with pytest.raises(TooMuchAudio):
        chunker.split(b"x", at=0.0)

    assert chunker.duration() == 2.0


def test_a_backlog_of_tiny_pieces_is_bounded(monkeypatch):
    monkeypatch.setattr(replay_buffer, "MAX_CHUNKS", 10)
    waiting = ReplayBuffer(30.0)
    for _ in range(9):
        waiting.push(Chunk(data=b"x", start=0.0), end=0.0)
    was_full = waiting.is_full
    for _ in range(9):
        waiting.push(Chunk(data=b"x", start=0.0), end=0.0)

    kept = 0
    while waiting.next_chunk():
        kept += 1
    assert (was_full, waiting.is_full, kept) == (False, True, 10)
