"""Cut a stream into pieces that can be sent again, and say where in time each begins.

Pure. Audio without a header is exact: its bytes are its time. What stands first in a
container has to be sent first on every connection, so it is kept.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Protocol

from workers.api.live.wav import Rate, State, WavHeader

# Of raw audio; a longer one could not be forgotten in part.
PIECE_SECONDS = 0.5
_SAMPLE_BYTES = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}
_RIFF = b"RIFF"


class TooMuchAudio(Exception):
    """The audio is longer than a session may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some bytes, and when in the session they begin. None at all: "finalize"."""

    data: bytes
    start: float
    rate: Rate | None = None
    # Where in the stream of frames it begins, to be cut at whole ones.
    position: int = 0

    @property
    def seconds(self) -> float:
        """How long it is, where that can be known."""
        return len(self.data) / self.rate.bytes_per_second if self.rate else 0.0

    def after(self, moment: float) -> "Chunk | None":
        """Return what of it comes after the moment; None if nothing does."""
        if self.rate is None or moment <= self.start:
            return self
        wanted = self.position + (moment - self.start) * self.rate.bytes_per_second
        frame = self.rate.frame_bytes
        skipped = round(wanted / frame) * frame - self.position
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
    """Whoever cuts one stream."""

    @property
    def header(self) -> bytes:
        """What each connection has to begin with."""

    def cut(self, data: bytes, *, at: float) -> list[Chunk]:
        """Return the pieces of what came, ``at`` seconds after the first of it.

        Raises TooMuchAudio before anything is cut, and InvalidRequest.
        """

    def lasts(self) -> float:
        """Return how many seconds were cut."""


class RawChunker:
    """Audio without a header."""

    def __init__(
        self, rate: Rate, header: bytes = b"", *, max_seconds: float = math.inf
    ) -> None:
        self.header, self._rate, self._position = header, rate, 0
        self._max_bytes = max_seconds * rate.bytes_per_second

    def cut(self, data: bytes, *, at: float) -> list[Chunk]:  # noqa: ARG002
        """Return pieces of half a second at most."""
        if self._position + len(data) > self._max_bytes:
            raise TooMuchAudio
        frames = max(
            1, int(PIECE_SECONDS * self._rate.bytes_per_second / self._rate.frame_bytes)
        )
        size, found = frames * self._rate.frame_bytes, []
        for begin in range(0, len(data), size):
            part = data[begin : begin + size]
            found.append(
                Chunk(
                    data=part,
                    start=self.lasts(),
                    rate=self._rate,
                    position=self._position,
                )
            )
            self._position += len(part)
        return found

    def lasts(self) -> float:
        """Return how many seconds were cut."""
        return self._position / self._rate.bytes_per_second


class TimedChunker:
    """A stream that says nothing we understand: its time is when it came."""

    def __init__(self) -> None:
        self.header, self._at = b"", 0.0

    def cut(self, data: bytes, *, at: float) -> list[Chunk]:
        """Return it as it came."""
        self._at = at
        return [Chunk(data=data, start=at)]

    def lasts(self) -> float:
        """Return when the last of it came."""
        return self._at


class SniffingChunker:
    """A container: cut by what its first bytes say it is."""

    def __init__(self, *, max_seconds: float = math.inf) -> None:
        self._max_seconds = max_seconds
        self._wav = WavHeader()
        self._cutter: Chunker | None = None

    @property
    def header(self) -> bytes:
        """What each connection has to begin with."""
        return self._cutter.header if self._cutter else b""

    def cut(self, data: bytes, *, at: float) -> list[Chunk]:
        """Return pieces, none as long as the header is not whole."""
        if self._cutter:
            return self._cutter.cut(data, at=at)
        head = bytes(self._wav.data[: len(_RIFF)]) + data[: len(_RIFF)]
        is_wav = head.startswith(_RIFF[: len(head)])
        state = self._wav.feed(data) if is_wav else State.UNKNOWN
        if state is State.PARTIAL:
            return []
        held = bytes(self._wav.data) if is_wav else bytes(self._wav.data) + data
        self._wav.data = bytearray()
        if state is State.COMPLETE and self._wav.rate:
            header, held = held[: self._wav.size], held[self._wav.size :]
            self._cutter = RawChunker(
                self._wav.rate, header, max_seconds=self._max_seconds
            )
        else:
            self._cutter = TimedChunker()
        return self._cutter.cut(held, at=at) if held else []

    def lasts(self) -> float:
        """Return how many seconds were cut."""
        return self._cutter.lasts() if self._cutter else 0.0


def make_chunker(options: dict[str, Any], *, max_seconds: float = math.inf) -> Chunker:
    """Return what cuts a stream of these options, up to so many seconds of audio."""
    encoding = options.get("encoding")
    if encoding is None:
        return SniffingChunker(max_seconds=max_seconds)
    if encoding not in _SAMPLE_BYTES:
        return TimedChunker()
    frame = _SAMPLE_BYTES[encoding] * int(options.get("channels", 1))
    per_second = float(frame * int(options["sample_rate"]))
    rate = Rate(bytes_per_second=per_second, frame_bytes=frame)
    return RawChunker(rate, max_seconds=max_seconds)
