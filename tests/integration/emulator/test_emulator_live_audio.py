"""What a live stream may be made of: raw encodings, packets, containers, channels."""

import json
import struct

import pytest

from tests.support import encoded_audio as sounds
from tests.support.deepgram_streams import (
    CLOSE,
    RAW,
    DeepgramStream,
    converse,
    dial,
    read,
    truth,
)
from workers.embedded.processes import wait_until
from workers.emulator.engines.live import cells

# Each build of a lossy codec makes other samples, and so other words: long enough for
# some with any of them.
SECONDS = 6
SPEECH = cells.speech(SECONDS, seed=3, sample_rate=sounds.RATE)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("webm", "libopus"),
        ("ogg", "libopus"),
        ("mp3", "libmp3lame"),
        ("adts", "aac"),
        ("mp4", "aac"),
        ("flac", "flac"),
        ("wav", "pcm_s16le"),
    ],
)
def test_a_container_is_decoded_piece_by_piece(emulator, container, codec):
    sound = sounds.encode(SPEECH, container, codec)
    samples, rate, channels = sounds.decode(sound)

    # Header alone first, then pieces that respect no border of the format.
    talk = converse(emulator.url, sound, "model=nova-3&interim_results=true", chunk=997)

    expected = truth(cells.find_words(samples, rate, channels=channels))
    assert talk.code == 1000
    assert expected
    assert talk.words() == expected
    assert abs(talk.messages[-1]["duration"] - SECONDS) < 0.15


@pytest.mark.parametrize("encoding", ["mulaw", "alaw", "linear32"])
def test_raw_encodings_are_decoded_as_by_a_reference(emulator, encoding):
    samples = cells.speech(4, seed=4, sample_rate=8000)
    if encoding == "linear32":
        values = [s / 32768 for (s,) in struct.iter_unpack("<h", samples)]
        sent = struct.pack(f"<{len(values)}f", *values)
        linear = samples
    else:
        sent, linear = sounds.compand(samples, f"pcm_{encoding}")

    talk = converse(
        emulator.url, sent, f"encoding={encoding}&sample_rate=8000", chunk=333
    )

    assert talk.words() == truth(cells.find_words(linear, 8000))
    assert len(talk.words()) > 3
    assert talk.messages[-1]["duration"] == 4


def test_bare_opus_comes_a_packet_a_message(emulator):
    with dial(emulator.url, "encoding=opus&sample_rate=48000") as socket:
        for packet in sounds.opus_packets(SPEECH):
            socket.send(packet)
        socket.send(CLOSE)
        talk = read(socket, DeepgramStream())

    assert talk.code == 1000
    assert abs(talk.messages[-1]["duration"] - SECONDS) < 0.15
    assert talk.words()


def test_channels_are_heard_apart_when_asked_for(emulator):
    left = cells.speech(4, seed=6)
    right = cells.speech(4, seed=7)
    both = b"".join(
        left[at : at + 2] + right[at : at + 2] for at in range(0, len(left), 2)
    )

    apart = converse(emulator.url, both, f"{RAW}&channels=2&multichannel=true")
    together = converse(emulator.url, both, f"{RAW}&channels=2")

    assert apart.words(0) == truth(cells.find_words(left, 16_000))
    assert apart.words(1) == truth(cells.find_words(right, 16_000))
    assert {tuple(f["channel_index"]) for f in apart.finals} == {(0, 2), (1, 2)}
    assert apart.messages[-1]["channels"] == 2
    assert together.words() == truth(cells.find_words(both, 16_000, channels=2))
    assert together.messages[-1]["channels"] == 1


def test_one_channel_can_be_finalized(emulator):
    with dial(emulator.url, f"{RAW}&channels=2&multichannel=true") as socket:
        socket.send(cells.speech(1, seed=8) * 2)
        socket.send('{"type":"Finalize","channel":1}')
        final = json.loads(socket.recv())

    assert final["channel_index"] == [1, 2]
    assert final["from_finalize"] is True


def test_a_damaged_container_is_closed_with_1008(emulator):
    sound = b"\x1a\x45\xdf\xa3" + b"not a header at all" * 200

    talk = converse(emulator.url, sound, "model=nova-3")

    assert talk.code == 1008
    assert wait_until(lambda: emulator.stats()["streams"]["in_flight"] == 0, seconds=5)
