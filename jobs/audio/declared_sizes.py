"""What the header of a file says about its length, which FFmpeg does not report. Pure.

FFmpeg ignores the size in a WAV header, estimates the length of an MP3 file from its
bit rate, and reports a cut MP4 file as invalid. Sizes in headers are often wrong, so
they prove nothing alone: ``jobs.audio.media_scan`` compares them with the audio.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO

# A WAV file has a few chunks, an MP4 file two boxes per fragment.
MAX_CHUNKS = 10_000
MAX_BOXES = 100_000
# An Ogg page has at most 65,307 bytes (RFC 3533, section 6).
_TAIL_BYTES = 65536
# Programs that write WAV to a pipe do not know its size yet. They write one that no
# upload has, or a round number, with or without the header's own bytes.
_PLACEHOLDER_MIN = 64 * 1024**2
_PLACEHOLDER_HUGE = 0x7F000000
_PLACEHOLDER_STEPS = (1024**2, 1_000_000)
_HEADER_BYTES = 128
_ID3_HEADER = 10
_MPEG_1, _MONO = 3, 3
_SAMPLE_RATES = (44100, 48000, 32000)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredLength:
    """The size of the file by its outermost chunks, or 0; the length of an MP3 file."""

    end: int = 0
    mp3_seconds: float | None = None


def read_header(file: IO[bytes], size: int) -> DeclaredLength:
    """Read what the header declares.

    Raises ValueError for a WAV file with more than ``MAX_CHUNKS``.
    """
    return DeclaredLength(
        end=find_declared_end(file, size), mp3_seconds=find_mp3_seconds(file)
    )


def find_declared_end(file: IO[bytes], size: int) -> int:
    """Return the file size that the outermost chunks declare, 0 if none does."""
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and len(head) == 12:  # noqa: PLR2004
        return _find_riff_end(file, size)
    if head[4:8] == b"ftyp":
        return max(islice(_iter_box_ends(file, size), MAX_BOXES), default=0)
    return _find_last_page_end(file, size) if head[:4] == b"OggS" else 0


def _find_riff_end(file: IO[bytes], size: int) -> int:
    """Return where the audio ends, or 0 if the outer size contradicts the inner one.

    What follows the data chunk is not looked at.
    """
    file.seek(4)
    (outer,) = struct.unpack("<I", file.read(4))
    # The file is whole by this size, or it was never set.
    end = _find_data_end(file, size)
    return 0 if 8 + outer <= size else end


def _find_data_end(file: IO[bytes], size: int) -> int:
    at = 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > size:
            return 0
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        at += 8 + length + length % 2
        if name == b"data" or at > size:
            is_unknown = name == b"data" and is_placeholder(length)
            return 0 if is_unknown else at - length % 2
    raise ValueError("too many chunks")


def is_placeholder(length: int) -> bool:
    """Return whether a program wrote this size before it knew the real one."""
    if length < _PLACEHOLDER_MIN:
        return length == 0
    if length >= _PLACEHOLDER_HUGE:
        return True
    return any(
        min(length % step, -length % step) <= _HEADER_BYTES
        for step in _PLACEHOLDER_STEPS
    )


def _iter_box_ends(file: IO[bytes], size: int) -> Iterator[int]:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            extended = file.read(8).ljust(8, b"\0")
            length = struct.unpack(">Q", extended)[0]
        if length < 8 or not kind.isalnum():  # noqa: PLR2004  0: up to the end
            return
        at += length
        yield at


def _find_last_page_end(file: IO[bytes], size: int) -> int:
    """Return the declared end of the last Ogg page; 0 if other data follows it."""
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    lengths_at = at + 27
    if len(tail) < lengths_at:
        return size + 1
    lengths = tail[lengths_at : lengths_at + tail[at + 26]]
    return start + lengths_at + tail[at + 26] + sum(lengths)


def find_mp3_seconds(file: IO[bytes]) -> float | None:
    """Return the length in the tag of an MP3 file's first frame, or None.

    http://gabriel.mp3-tech.org/mp3infotag.html
    """
    file.seek(0)
    head = file.read(_ID3_HEADER)
    start = 0
    if head[:3] == b"ID3" and len(head) == _ID3_HEADER:
        # Four bytes of seven bits each (ID3v2.4, section 6.2).
        start = _ID3_HEADER + sum(b << 7 * n for n, b in enumerate(head[:5:-1]))
    file.seek(start)
    frame = file.read(512)
    at = frame.find(b"\xff")
    header = frame[at : at + 4] if at >= 0 else b""
    if len(header) < 4 or header[1] & 0xE0 != 0xE0:  # noqa: PLR2004  the sync bits
        return None
    return _read_length_tag(frame[at:], header)


def _read_length_tag(frame: bytes, header: bytes) -> float | None:
    version, rate_index = header[1] >> 3 & 3, header[2] >> 2 & 3
    if version == 1 or rate_index == len(_SAMPLE_RATES):  # both reserved
        return None
    is_mpeg_1, is_mono = version == _MPEG_1, header[3] >> 6 == _MONO
    divisor = {3: 1, 2: 2, 0: 4}[version]
    side_bytes = (17 if is_mono else 32) if is_mpeg_1 else (9 if is_mono else 17)
    tag = frame[4 + side_bytes :]
    frames = None
    if tag[:4] in {b"Xing", b"Info"} and tag[7:8] and tag[7] & 1:
        frames = int.from_bytes(tag[8:12], "big")
    elif frame[36:40] == b"VBRI":
        frames = int.from_bytes(frame[50:54], "big")
    samples = 1152 if is_mpeg_1 else 576
    rate = _SAMPLE_RATES[rate_index] / divisor
    return frames * samples / rate if frames else None
