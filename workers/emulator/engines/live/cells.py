"""The canned words of a stream: each lies in ten milliseconds of sound, and only there.

A stream is cut into cells of ten milliseconds. A cell has a word or none, and which
one depends on its samples alone: not on the time, the cells around it or the
connection. So whoever has the samples knows the words (`find_words`), and they are the
same when a stream breaks off and goes on over another connection, as long as that one
begins at a border of cells, where every final result ends.

Sound made by `speech` has a mark at each border. After a cut in the middle of a cell
the borders are found again by the next mark; only the cell that was cut loses its word.
Sound that repeats itself exactly (a tone) has one word everywhere or none at all.
"""

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from workers.emulator import engines
from workers.emulator.engines import canned

CELLS_PER_SECOND = 100
# One cell in so many has a word, when the sound is no silence.
CELLS_PER_WORD = 40
# Begins every cell that `speech` makes: louder than silence, and not found by chance.
MARK = b"\x11\x22\xee\xdd\x33\x12\x44\xed"

_SAMPLE_BYTES = 2
_QUIET = b"\x00\xff"  # the upper byte of a sample nearer to zero than 256
_SENTENCE_WORDS = 8
_SPEECH_SECONDS = (2.0, 5.0)
_PAUSE_SECONDS = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of one channel: where it ends, whether it is silent, its word."""

    end: float
    is_silent: bool
    word: engines.Word | None


class Cutter:
    """Cut the samples of one channel into cells."""

    def __init__(self, sample_rate: int) -> None:
        self._size = max(sample_rate // CELLS_PER_SECOND, len(MARK)) * _SAMPLE_BYTES
        self._bytes_per_second = sample_rate * _SAMPLE_BYTES
        self._rest = b""
        self._at = 0  # bytes before the rest
        self._may_be_marked = True

    @property
    def seconds(self) -> float:
        """Return where the cells end that were cut."""
        return self._at / self._bytes_per_second

    def cut(self, samples: bytes) -> Iterator[Cell]:
        """Yield the cells that are whole now."""
        pieces = self._rest + samples
        size = self._size
        at = 0
        while len(pieces) - at >= size:
            at = self._align(pieces, at)
            if len(pieces) - at < size:
                break
            piece = pieces[at : at + size]
            start = (self._at + at) / self._bytes_per_second
            at += size
            cell = read_cell(piece, start, (self._at + at) / self._bytes_per_second)
            self._may_be_marked = cell.is_silent or piece.startswith(MARK)
            yield cell
        self._rest = pieces[at:]
        self._at += at

    def _align(self, pieces: bytes, at: int) -> int:
        """Return where the next cell begins: here, or at a mark within it."""
        if not self._may_be_marked:
            return at
        found = pieces.find(MARK, at, at + self._size + len(MARK))
        return max(found, at)


def read_cell(piece: bytes, start: float, end: float) -> Cell:
    """Return what one cell says."""
    if is_silent(piece):
        return Cell(end, is_silent=True, word=None)
    number, has_none = divmod(zlib.crc32(piece), CELLS_PER_WORD)
    word = None if has_none else _make_word(number, start, end)
    return Cell(end, is_silent=False, word=word)


def is_silent(samples: bytes) -> bool:
    """Tell whether no sample is farther from zero than 256."""
    return not samples[1::_SAMPLE_BYTES].translate(None, _QUIET)


def find_words(
    samples: bytes, sample_rate: int, *, channels: int = 1, channel: int | None = None
) -> list[engines.Word]:
    """Return the words of a whole stream: the truth a test compares with.

    Without a channel the samples are taken as they are, all channels together, as in
    a stream without `multichannel`.
    """
    if channel is None:
        cutter = Cutter(sample_rate * channels)
    else:
        samples = pick_channel(samples, channels, channel)
        cutter = Cutter(sample_rate)
    return [cell.word for cell in cutter.cut(samples) if cell.word is not None]


def pick_channel(samples: bytes, channels: int, channel: int) -> bytes:
    """Return the samples of one channel."""
    if channels == 1:
        return samples
    stride = channels * _SAMPLE_BYTES
    at = channel * _SAMPLE_BYTES
    picked = bytearray(len(samples) // stride * _SAMPLE_BYTES)
    whole = len(samples) // stride * stride
    picked[0::_SAMPLE_BYTES] = samples[at:whole:stride]
    picked[1::_SAMPLE_BYTES] = samples[at + 1 : whole : stride]
    return bytes(picked)


def speech(seconds: float, *, seed: int, sample_rate: int = 16_000) -> bytes:
    """Return marked sound of one channel, the same for the same seed.

    It has stretches of sound with words and pauses between them, which end
    utterances. Every cell is of its own, so no two words are alike by repetition.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    size = max(sample_rate // CELLS_PER_SECOND, len(MARK)) * _SAMPLE_BYTES
    silence = bytes(size)
    pieces: list[bytes] = []
    wanted = int(seconds * CELLS_PER_SECOND)
    while len(pieces) < wanted:
        loud = int(rng.uniform(*_SPEECH_SECONDS) * CELLS_PER_SECOND)
        quiet = int(rng.uniform(*_PAUSE_SECONDS) * CELLS_PER_SECOND)
        pieces += [MARK + rng.randbytes(size - len(MARK)) for _ in range(loud)]
        pieces += [silence] * quiet
    return b"".join(pieces[:wanted])


def _make_word(number: int, start: float, end: float) -> engines.Word:
    number, place = divmod(number, len(canned.VOCABULARY))
    text = canned.VOCABULARY[place]
    is_last = number % _SENTENCE_WORDS == 0
    return engines.Word(
        text=text,
        written=f"{text}." if is_last else text,
        start=round(start, 3),
        end=round(end, 3),
        confidence=round(0.85 + number % 1000 / 1000 * 0.149, 4),
    )
