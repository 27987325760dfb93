"""Parse the header of a WAV stream that arrives in parts of any size. Pure.

Each byte is read once. The header is limited in bytes and in RIFF chunks. Its values
must be plausible, because they determine how audio is split and billed.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn

from jobs.errors import InvalidRequest
from jobs.options import CHANNELS, SAMPLE_RATES

# A stream with a larger header is not treated as WAV.
MAX_HEADER_BYTES = 64 * 1024
MAX_CHUNKS = 256
_RIFF_BYTES, _CHUNK_BYTES, _FORMAT_BYTES = 12, 8, 16
_MAX_SAMPLE_BITS = 64
# PCM, float, A-law, mu-law and "extensible": a frame is one sample of each channel.
_SAMPLED = {0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE}
# The minimum for compressed audio: the slowest speech codecs have about 600.
_MIN_BYTES_PER_SECOND = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The byte rate of audio, and the frame size to split at."""

    bytes_per_second: float
    frame_bytes: int


class State(Enum):
    """The parse state of a header."""

    PARTIAL = auto()
    COMPLETE = auto()
    # Too long, or without a usable format.
    UNKNOWN = auto()


class WavHeader:
    """A header up to the first byte of audio."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.rate: Rate | None = None
        # The size of the header; valid once it is complete.
        self.size = 0
        self._next_chunk, self._chunks = _RIFF_BYTES, 0

    def feed(self, data: bytes) -> State:
        """Parse more of the stream; raises InvalidRequest for implausible values."""
        self.data += data
        while self._next_chunk + _CHUNK_BYTES <= len(self.data):
            if self._next_chunk > MAX_HEADER_BYTES or self._chunks >= MAX_CHUNKS:
                return State.UNKNOWN
            begin = self._next_chunk + _CHUNK_BYTES
            name = self.data[self._next_chunk : self._next_chunk + 4]
            if name == b"data":
                self.size = begin
                return State.COMPLETE if self.rate else State.UNKNOWN
            if name == b"fmt ":
                if begin + _FORMAT_BYTES > len(self.data):
                    break
                self.rate = read_rate(self.data[begin : begin + _FORMAT_BYTES])
            size = int.from_bytes(self.data[begin - 4 : begin], "little")
            self._next_chunk = begin + size + size % 2
            self._chunks += 1
        is_long = len(self.data) > MAX_HEADER_BYTES
        return State.UNKNOWN if is_long else State.PARTIAL


def read_rate(fields: bytes | bytearray) -> Rate | None:
    """Return the rate of a format chunk, or None if it has none.

    Raises InvalidRequest for contradictory values.
    """
    kind, channels, sample_rate, byte_rate, block, bits = (
        int.from_bytes(fields[begin:end], "little")
        for begin, end in ((0, 2), (2, 4), (4, 8), (8, 12), (12, 14), (14, 16))
    )
    if sample_rate not in SAMPLE_RATES or channels not in CHANNELS:
        _reject(f"{sample_rate} Hz in {channels} channels")
    if kind in _SAMPLED:
        frame = channels * -(-bits // 8)
        agree = block in {0, frame} and byte_rate in {0, sample_rate * frame}
        if not 0 < bits <= _MAX_SAMPLE_BITS or not agree:
            _reject(f"{byte_rate} bytes per second in blocks of {block}, {bits} bits")
        return Rate(bytes_per_second=float(sample_rate * frame), frame_bytes=frame)
    if not byte_rate or not block:
        return None
    highest = sample_rate * channels * _MAX_SAMPLE_BITS // 8
    if not _MIN_BYTES_PER_SECOND <= byte_rate <= highest:
        _reject(f"{byte_rate} bytes per second in blocks of {block}")
    return Rate(bytes_per_second=float(byte_rate), frame_bytes=block)


def _reject(found: str) -> NoReturn:
    message = f"The WAV header is implausible: {found}."
    raise InvalidRequest(message, code="audio_unreadable")
