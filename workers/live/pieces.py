"""Cut a stream into pieces that can be sent again, and say where in time each begins.

Pure. Audio without a header is exact: its bytes are its time. What stands first in a
container has to be sent first on every connection, so it is kept.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

# Of raw audio; a longer one could not be forgotten in part.
PIECE_SECONDS = 0.5
# A WAV file's header is shorter than this, whatever chunks it has.
MAX_HEADER_BYTES = 64 * 1024
_SAMPLE_BYTES = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}
_DATA_CHUNK = b"data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How bytes are time: so many a second, to be cut at whole frames only."""

    bytes_per_second: float
    frame_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
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

    def after(self, moment: float) -> "Piece | None":
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


class Cutter(Protocol):
    """Whoever cuts one stream."""

    @property
    def header(self) -> bytes:
        """What each connection has to begin with."""

    def cut(self, data: bytes, *, at: float) -> list[Piece]:
        """Return the pieces of what came, ``at`` seconds after the first of it."""

    def lasts(self) -> float:
        """Return how many seconds were cut."""


class RawCutter:
    """Audio without a header."""

    def __init__(self, rate: Rate, header: bytes = b"") -> None:
        self.header, self._rate, self._position = header, rate, 0

    def cut(self, data: bytes, *, at: float) -> list[Piece]:  # noqa: ARG002
        """Return pieces of half a second at most."""
        frames = max(
            1, int(PIECE_SECONDS * self._rate.bytes_per_second / self._rate.frame_bytes)
        )
        size, found = frames * self._rate.frame_bytes, []
        for begin in range(0, len(data), size):
            part = data[begin : begin + size]
            found.append(
                Piece(
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


class TimedCutter:
    """A stream that says nothing we understand: its time is when it came."""

    def __init__(self) -> None:
        self.header, self._at = b"", 0.0

    def cut(self, data: bytes, *, at: float) -> list[Piece]:
        """Return it as it came."""
        self._at = at
        return [Piece(data=data, start=at)]

    def lasts(self) -> float:
        """Return when the last of it came."""
        return self._at


class SniffingCutter:
    """A container: cut by what its first bytes say it is."""

    def __init__(self) -> None:
        self._head = b""
        self._cutter: Cutter | None = None

    @property
    def header(self) -> bytes:
        """What each connection has to begin with."""
        return self._cutter.header if self._cutter else b""

    def cut(self, data: bytes, *, at: float) -> list[Piece]:
        """Return pieces, none as long as the header is not whole."""
        if self._cutter:
            return self._cutter.cut(data, at=at)
        self._head += data
        if not self._head.startswith(b"RIFF"[: len(self._head)]):
            self._cutter = TimedCutter()
        elif found := read_wav_header(self._head):
            size, rate = found
            self._cutter = RawCutter(rate, header=self._head[:size])
            self._head = self._head[size:]
        elif len(self._head) > MAX_HEADER_BYTES:
            self._cutter = TimedCutter()
        else:
            return []
        held, self._head = self._head, b""
        return self._cutter.cut(held, at=at) if held else []

    def lasts(self) -> float:
        """Return how many seconds were cut."""
        return self._cutter.lasts() if self._cutter else 0.0


def make_cutter(options: dict[str, Any]) -> Cutter:
    """Return what cuts a stream of these options."""
    encoding = options.get("encoding")
    if encoding is None:
        return SniffingCutter()
    if encoding not in _SAMPLE_BYTES:
        return TimedCutter()
    frame = _SAMPLE_BYTES[encoding] * int(options.get("channels", 1))
    per_second = float(frame * int(options["sample_rate"]))
    return RawCutter(Rate(bytes_per_second=per_second, frame_bytes=frame))


def read_wav_header(head: bytes) -> tuple[int, Rate] | None:
    """Return how long a WAV file's header is and how fast its bytes go; or None."""
    position, rate = 12, None
    while position + 8 <= len(head):
        name = head[position : position + 4]
        size = int.from_bytes(head[position + 4 : position + 8], "little")
        if name == _DATA_CHUNK:
            return (position + 8, rate) if rate else None
        if name == b"fmt " and position + 24 <= len(head):
            fields = head[position + 8 : position + 24]
            per_second = int.from_bytes(fields[8:12], "little")
            frame = int.from_bytes(fields[12:14], "little")
            if per_second and frame:
                rate = Rate(bytes_per_second=float(per_second), frame_bytes=frame)
        position += 8 + size + size % 2
    return None
