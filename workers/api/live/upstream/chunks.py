"""Split a stream into chunks with start times, to replay after a disconnect. Pure.

The time of raw audio follows from its bytes. The header of a container is stored,
because every connection must start with it.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

from workers.api.live.upstream.wav import Rate, State, WavHeader

# The maximum length of raw audio chunks; replay buffers drop whole chunks.
CHUNK_SECONDS = 0.5
_SAMPLE_BYTES = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}
_RIFF = b"RIFF"


class TooMuchAudio(Exception):
    """The audio is longer than the session limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Audio bytes and their start time in seconds; empty bytes mean "finalize"."""

    data: bytes
    start: float
    rate: Rate | None = None
    # The byte position in the stream, to split at whole frames.
    position: int = 0

    @property
    def seconds(self) -> float:
        """The length in seconds; 0 if the rate is unknown."""
        return len(self.data) / self.rate.bytes_per_second if self.rate else 0.0

    def after(self, moment: float) -> "Chunk | None":
        """Return the part after the moment; None if there is none."""
        if self.rate is None or moment <= self.start:
            return self
        target = self.position + (moment - self.start) * self.rate.bytes_per_second
        frame = self.rate.frame_bytes
        skipped = round(target / frame) * frame - self.position
        if skipped <= 0:
            return self
        if skipped >= len(self.data):
            return None
        return replace(
            self,
            data=self.data[skipped:],
            start=self.start + skipped / self.rate.bytes_per_second,
            position=self.position + skipped,
        )


class Chunker(Protocol):
    """Splits one stream."""

    @property
    def header(self) -> bytes:
        """The bytes that every connection must start with."""

    def split(self, data: bytes, *, at: float) -> list[Chunk]:
        """Return the chunks of audio received ``at`` seconds after the first.

        Raises TooMuchAudio before any chunk is made, and InvalidRequest.
        """

    def duration(self) -> float:
        """Return the seconds of audio so far."""


class RawChunker:
    """Splits audio of a known rate."""

    def __init__(
        self, rate: Rate, header: bytes = b"", *, max_seconds: float = math.inf
    ) -> None:
        self.header, self._rate, self._position = header, rate, 0
        self._max_bytes = max_seconds * rate.bytes_per_second

    def split(self, data: bytes, *, at: float) -> list[Chunk]:  # noqa: ARG002
        """Return chunks of at most half a second."""
        if self._position + len(data) > self._max_bytes:
            raise TooMuchAudio
        frames = max(
            1, int(CHUNK_SECONDS * self._rate.bytes_per_second / self._rate.frame_bytes)
        )
        size, found = frames * self._rate.frame_bytes, []
        for begin in range(0, len(data), size):
            part = data[begin : begin + size]
            found.append(
                Chunk(
                    data=part,
                    start=self.duration(),
                    rate=self._rate,
                    position=self._position,
                )
            )
            self._position += len(part)
        return found

    def duration(self) -> float:
        """Return the seconds of audio so far."""
        return self._position / self._rate.bytes_per_second


class TimedChunker:
    """Passes on a stream of unknown format; chunk times are arrival times."""

    def __init__(self) -> None:
        self.header, self._at = b"", 0.0

    def split(self, data: bytes, *, at: float) -> list[Chunk]:
        """Return the data as one chunk."""
        self._at = at
        return [Chunk(data=data, start=at)]

    def duration(self) -> float:
        """Return the arrival time of the last chunk."""
        return self._at


class SniffingChunker:
    """Detects a container format by its first bytes, then splits accordingly."""

    def __init__(self, *, max_seconds: float = math.inf) -> None:
        self._max_seconds = max_seconds
        self._wav = WavHeader()
        self._chunker: Chunker | None = None

    @property
    def header(self) -> bytes:
        """The bytes that every connection must start with."""
        return self._chunker.header if self._chunker else b""

    def split(self, data: bytes, *, at: float) -> list[Chunk]:
        """Return chunks; none until the header is complete."""
        if self._chunker:
            return self._chunker.split(data, at=at)
        head = bytes(self._wav.data[: len(_RIFF)]) + data[: len(_RIFF)]
        is_wav = head.startswith(_RIFF[: len(head)])
        state = self._wav.feed(data) if is_wav else State.UNKNOWN
        if state is State.PARTIAL:
            return []
        pending = bytes(self._wav.data) if is_wav else bytes(self._wav.data) + data
        self._wav.data = bytearray()
        if state is State.COMPLETE and self._wav.rate:
            header, pending = pending[: self._wav.size], pending[self._wav.size :]
            self._chunker = RawChunker(
                self._wav.rate, header, max_seconds=self._max_seconds
            )
        else:
            self._chunker = TimedChunker()
        return self._chunker.split(pending, at=at) if pending else []

    def duration(self) -> float:
        """Return the seconds of audio so far."""
        return self._chunker.duration() if self._chunker else 0.0


def build_chunker(options: dict[str, Any], *, max_seconds: float = math.inf) -> Chunker:
    """Return the chunker for these options, limited to ``max_seconds`` of audio."""
    encoding = options.get("encoding")
    if encoding is None:
        return SniffingChunker(max_seconds=max_seconds)
    if encoding not in _SAMPLE_BYTES:
        return TimedChunker()
    frame = _SAMPLE_BYTES[encoding] * int(options.get("channels", 1))
    per_second = float(frame * int(options["sample_rate"]))
    rate = Rate(bytes_per_second=per_second, frame_bytes=frame)
    return RawChunker(rate, max_seconds=max_seconds)
