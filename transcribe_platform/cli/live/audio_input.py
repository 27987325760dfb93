"""Audio in pieces of a tenth of a second: as it comes, or at its own pace."""

import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

_PIECE_SECONDS = 0.1
_SIXTEEN_BITS = 2
# Of compressed files nobody here knows how long they last: 128 kbit/s is usual.
_USUAL_BYTES_A_SECOND = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Frames to send, and the options that say what they are."""

    frames: Iterator[bytes]
    options: dict[str, Any]


def read_file(path: Path) -> Sound:
    """Return a file's audio, to be sent at its pace; raises OSError."""
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115  read as it is sent
    except (wave.Error, EOFError):
        pace = round(_USUAL_BYTES_A_SECOND * _PIECE_SECONDS)
        return Sound(frames=_paced(_pieces(path.open("rb"), pace)), options={})
    if file.getsampwidth() != _SIXTEEN_BITS:
        file.close()
        size = file.getsampwidth() * file.getnchannels() * file.getframerate()
        pieces = _pieces(path.open("rb"), round(size * _PIECE_SECONDS))
        return Sound(frames=_paced(pieces), options={})
    return Sound(
        frames=_paced(_wave_pieces(file)),
        options={
            "encoding": "linear16",
            "sample_rate": file.getframerate(),
            "channels": file.getnchannels(),
        },
    )


def read_raw(
    pipe: BinaryIO, *, encoding: str, sample_rate: int, channels: int
) -> Sound:
    """Return what comes through a pipe, as soon as it comes."""
    width = _SIXTEEN_BITS if encoding == "linear16" else 1
    size = round(sample_rate * _PIECE_SECONDS) * channels * width
    return Sound(
        frames=_coming(pipe, size),
        options={
            "encoding": encoding,
            "sample_rate": sample_rate,
            "channels": channels,
        },
    )


def read_container(pipe: BinaryIO) -> Sound:
    """Return a container's bytes as they come; it says itself what is in it."""
    return Sound(frames=_coming(pipe, 1 << 16), options={})


def _coming(pipe: BinaryIO, size: int) -> Iterator[bytes]:
    read = cast("Any", pipe).read1  # what is there, however little
    while piece := read(size):
        yield piece


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    with file:
        while piece := file.read(size):
            yield piece


def _wave_pieces(file: wave.Wave_read) -> Iterator[bytes]:
    with file:
        while piece := file.readframes(round(file.getframerate() * _PIECE_SECONDS)):
            yield piece


def _paced(pieces: Iterator[bytes]) -> Iterator[bytes]:
    began = time.monotonic()
    for number, piece in enumerate(pieces):
        time.sleep(max(0.0, began + number * _PIECE_SECONDS - time.monotonic()))
        yield piece
