"""The pure parts of live streams: cells, segments, messages, stream_faults, wishes."""

import random
import struct

import pytest

from workers.emulator import faults
from workers.emulator.engines.live import cells, events, segments
from workers.emulator.live import (
    containers,
    decoding,
    live_options,
    messages,
    stream_faults,
)
from workers.emulator.protocol import options, refusals
from workers.emulator.protocol.options import RawFormat

RATE = 16_000
CELL = RATE // 100 * 2


def noise(seconds: float, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(int(seconds * RATE) * 2)


def heard(samples: bytes, **event_settings: object) -> list[events.Event]:
    said: list[events.Event] = []
    segmenter = segments.Segmenter(
        0, segments.EventSettings(**event_settings), said.append
    )
    for cell in cells.CellSplitter(RATE).split(samples):
        segmenter.add(cell)
    return said


@pytest.mark.parametrize("chunk", [1, 2, 319, 320, 1000, 99_999])
def test_words_do_not_depend_on_how_the_samples_come(chunk):
    sound = noise(0.5) + bytes(640) + cells.speech(2, seed=1)
    cutter = cells.CellSplitter(RATE)

    found = [
        cell.word
        for at in range(0, len(sound), chunk)
        for cell in cutter.split(sound[at : at + chunk])
        if cell.word
    ]

    assert found == cells.find_words(sound, RATE)
    assert cutter.seconds == 2.52


def test_any_sound_goes_on_at_a_border_of_cells():
    sound = noise(20)
    cut = 733 * CELL

    before = cells.find_words(sound[:cut], RATE)
    after = cells.find_words(sound[cut:], RATE)

    whole = [(w.text, w.start) for w in cells.find_words(sound, RATE)]
    assert 30 < len(whole) < 70
    assert whole == [
        *((w.text, w.start) for w in before),
        *((w.text, round(w.start + 7.33, 3)) for w in after),
    ]


@pytest.mark.parametrize("cut", [1, 3, 317, 321, 100_001])
def test_marked_sound_goes_on_anywhere(cut):
    sound = cells.speech(10, seed=4)
    ahead = -(-cut // CELL) * 10  # where the next whole cell begins, in milliseconds

    after = cells.find_words(sound[cut:], RATE)

    assert [(w.text, round(w.start * 1000 + cut / 32)) for w in after] == [
        (w.text, round(w.start * 1000))
        for w in cells.find_words(sound, RATE)
        if round(w.start * 1000) >= ahead
    ]


def test_silence_has_no_words_and_repeated_sound_has_one():
    assert cells.find_words(bytes(RATE * 2), RATE) == []
    assert len({w.text for w in cells.find_words(b"\x00\x10" * RATE, RATE)}) <= 1


def test_a_pause_ends_a_segment_unless_that_is_switched_off():
    sound = noise(2) + bytes(RATE) + noise(1)

    finals = [e for e in heard(sound) if e.is_final]
    endless = heard(sound, pause=None)

    assert [(f.start, f.end, f.speech_final) for f in finals] == [(0, 2.1, True)]
    assert endless == []
    (slow,) = heard(sound, pause=0.4)
    assert slow.end == 2.4


def test_a_segment_without_a_pause_ends_after_four_seconds():
    (final,) = heard(noise(5))

    assert (final.start, final.end, final.speech_final) == (0, 4, False)
    assert all(word.end <= 4 for word in final.words)


def test_silence_is_told_as_an_empty_final_result():
    (final,) = heard(bytes(5 * RATE * 2))

    assert (final.words, final.speech_final) == ((), True)


@pytest.mark.parametrize(
    ("fault", "due"),
    [
        ("cut2", [(1.9, 9, False), (2.0, 0, True)]),
        ("bye2m", [(9, 1, False), (0, 2, True)]),
    ],
)
def test_a_fault_strikes_once_by_seconds_or_by_results(fault, due):
    for seconds, results, is_due in due:
        parsed = faults.parse_tag(f"emu:{fault}")
        trouble = stream_faults.StreamFaults([parsed[0]])
        for _ in range(results):
            trouble.count_result()

        assert bool(list(trouble.due(seconds))) is is_due
        assert list(trouble.due(99)) == [] or not is_due


def test_faults_of_streams_do_not_strike_recordings():
    plan = faults.FaultPlan(seed=0)
    subject = faults.Subject(
        tags=("emu:cut1", "emu:stall", "emu:slow1", "emu:truncate"),
        path="/v1/listen",
        model="",
        url="",
        content="",
    )

    assert [f.kind for f in plan.choose(subject, faults.EARLY | faults.LATE)] == [
        "truncate"
    ]
    assert [f.kind for f in plan.choose(subject, faults.LIVE)] == [
        "cut",
        "stall",
        "slow",
    ]


@pytest.mark.parametrize(
    ("query", "pause"),
    [
        ("", 0.1),
        ("endpointing=true", 0.1),
        ("endpointing=false", None),
        ("endpointing=500", 0.5),
    ],
)
def test_endpointing_is_a_switch_or_a_time(query, pause):
    assert (
        live_options.parse_live_options(options.split_query(query)).event_settings.pause
        == pause
    )


@pytest.mark.parametrize(
    "query",
    ["model=whisper", "endpointing=soon", "utterance_end_ms=-1", "vad_events=1"],
)
def test_wishes_that_make_no_sense_are_refused(query):
    with pytest.raises(refusals.Refused):
        live_options.parse_live_options(options.split_query(query))


def test_a_channel_is_a_number():
    assert messages.read_control('{"type":"Finalize","channel":1}').channel == 1
    with pytest.raises(messages.SchemaError):
        messages.read_control('{"type":"Finalize","channel":true}')


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF....WAVE", "wav"),
        (b"\xff\xfb" + bytes(10), "mp3"),
        (b"\xff\xf1" + bytes(10), "aac"),
        (b"....ftypisom", "mov"),
        (b"hello, world", None),
    ],
)
def test_a_format_is_known_by_its_beginning(head, name):
    assert containers.sniff(head) == name


def test_floats_are_clipped():
    raw = RawFormat(encoding="linear32", sample_rate=8000, channels=1)

    samples = decoding._build_converter(raw)(struct.pack("<3f", 2.0, -2.0, 0.5))

    assert struct.unpack("<3h", samples) == (32767, -32768, 16384)
