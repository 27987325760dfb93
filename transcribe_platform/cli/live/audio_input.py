"""Reads audio in chunks of 0.1 s: as it arrives, or in real time."""

import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

_CHUNK_SECONDS = 0.1
_SIXTEEN_BITS = 2
# Assumed for compressed files, whose duration is unknown: 128 kbit/s.
_ASSUMED_BYTES_PER_SECOND = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInput:
    """Chunks to send, and the options that describe them."""

    frames: Iterator[bytes]
    options: dict[str, Any]


def read_file(path: Path) -> AudioInput:
    """Return the audio of a file, read in real time; raises OSError."""
    try:
        file = wave.open(str(path), "rb")  # noqa: SIM115  read while it is sent
    except (wave.Error, EOFError):
        size = round(_ASSUMED_BYTES_PER_SECOND * _CHUNK_SECONDS)
        return AudioInput(frames=_pace(_read_chunks(path.open("rb"), size)), options={})
    if file.getsampwidth() != _SIXTEEN_BITS:
        file.close()
        size = file.getsampwidth() * file.getnchannels() * file.getframerate()
        chunks = _read_chunks(path.open("rb"), round(size * _CHUNK_SECONDS))
        return AudioInput(frames=_pace(chunks), options={})
    return AudioInput(
        frames=_pace(_read_wave(file)),
        options={
            "encoding": "linear16",
            "sample_rate": file.getframerate(),
            "channels": file.getnchannels(),
        },
    )


def read_raw(
    pipe: BinaryIO, *, encoding: str, sample_rate: int, channels: int
) -> AudioInput:
    """Return raw audio from a pipe, as it arrives."""
    width = _SIXTEEN_BITS if encoding == "linear16" else 1
    size = round(sample_rate * _CHUNK_SECONDS) * channels * width
    return AudioInput(
        frames=_read_available(pipe, size),
        options={
            "encoding": encoding,
            "sample_rate": sample_rate,
            "channels": channels,
        },
    )


def read_container(pipe: BinaryIO) -> AudioInput:
    """Return a container from a pipe, as it arrives; its header has the format."""
    return AudioInput(frames=_read_available(pipe, 1 << 16), options={})


def _read_available(pipe: BinaryIO, size: int) -> Iterator[bytes]:
    read = cast("Any", pipe).read1  # returns what is available
    while chunk := read(size):
        yield chunk


def _read_chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    with file:
        while chunk := file.read(size):
            yield chunk


def _read_wave(file: wave.Wave_read) -> Iterator[bytes]:
    with file:
        while chunk := file.readframes(round(file.getframerate() * _CHUNK_SECONDS)):
            yield chunk


def _pace(chunks: Iterator[bytes]) -> Iterator[bytes]:
    started_at = time.monotonic()
    for number, chunk in enumerate(chunks):
        time.sleep(max(0.0, started_at + number * _CHUNK_SECONDS - time.monotonic()))
        yield chunk
