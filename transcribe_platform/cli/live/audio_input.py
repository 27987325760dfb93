"""Reads audio in chunks of 0.1 s: as it arrives, or in real time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from transcribe_platform.cli.live import wav_header

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
    """Return the audio of a file, read in real time; raises OSError.

    16-bit PCM is sent without its header; other WAV files with it, at their own rate.
    """
    with path.open("rb") as head:
        wav = wav_header.read_format(head)
    file = path.open("rb")
    rate = (wav.bytes_per_second if wav else 0) or _ASSUMED_BYTES_PER_SECOND
    if wav is None or not wav.is_linear16:
        chunks = _read_chunks(file, max(1, round(rate * _CHUNK_SECONDS)))
        return AudioInput(frames=_pace(chunks), options={})
    file.seek(wav.start)
    blocks = max(1, round(wav.sample_rate * _CHUNK_SECONDS))
    chunks = _read_chunks(file, blocks * wav.block_bytes, limit=wav.size or None)
    return AudioInput(
        frames=_pace(chunks),
        options={
            "encoding": "linear16",
            "sample_rate": wav.sample_rate,
            "channels": wav.channels,
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


def _read_chunks(
    file: BinaryIO, size: int, *, limit: int | None = None
) -> Iterator[bytes]:
    """Yield the rest of the file, or ``limit`` bytes of it."""
    with file:
        left = limit
        while chunk := file.read(size if left is None else min(size, left)):
            left = None if left is None else left - len(chunk)
            yield chunk


def _pace(chunks: Iterator[bytes]) -> Iterator[bytes]:
    started_at = time.monotonic()
    for number, chunk in enumerate(chunks):
        time.sleep(max(0.0, started_at + number * _CHUNK_SECONDS - time.monotonic()))
        yield chunk
