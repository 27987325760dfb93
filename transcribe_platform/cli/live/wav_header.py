"""Read the format of a WAV file.

Python's ``wave`` reads only plain PCM, and before Python 3.12 no extensible header.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO

_MAX_CHUNKS = 256
_PCM, _EXTENSIBLE = 0x0001, 0xFFFE
# PCM, float, A-law and mu-law: a block is one sample of each channel.
_SAMPLED = {_PCM, 0x0003, 0x0006, 0x0007}
_FORMAT_BYTES = 40
_SIXTEEN_BITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFormat:
    """The format of the audio, which begins at ``start`` and has ``size`` bytes.

    ``bytes_per_second`` is 0 if it is unknown.
    """

    kind: int
    channels: int
    sample_rate: int
    block_bytes: int
    bits: int
    bytes_per_second: int
    start: int
    size: int

    @property
    def is_linear16(self) -> bool:
        """Whether the samples can be sent without the header."""
        return (self.kind, self.bits) == (_PCM, _SIXTEEN_BITS)


def read_format(file: BinaryIO) -> WavFormat | None:
    """Return the format of a WAV file, or None for any other file."""
    head = file.read(12)
    if head[:4] not in {b"RIFF", b"RF64"} or head[8:] != b"WAVE":
        return None
    fields = b""
    for _ in range(_MAX_CHUNKS):
        chunk = file.read(8)
        if len(chunk) < struct.calcsize("<4sI"):
            return None
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            return _parse(fields, start=file.tell(), size=size)
        at = file.tell()
        if name == b"fmt ":
            fields = file.read(min(size, _FORMAT_BYTES))
        file.seek(at + size + size % 2)
    return None


def _parse(fields: bytes, *, start: int, size: int) -> WavFormat | None:
    if len(fields) < struct.calcsize("<HHIIHH"):
        return None
    kind, channels, sample_rate, byte_rate, block, bits = struct.unpack(
        "<HHIIHH", fields[:16]
    )
    if kind == _EXTENSIBLE and len(fields) == _FORMAT_BYTES:
        (kind,) = struct.unpack("<H", fields[24:26])  # the start of the sub-format
    return WavFormat(
        kind=kind,
        channels=channels,
        sample_rate=sample_rate,
        block_bytes=block,
        bits=bits,
        bytes_per_second=sample_rate * block if kind in _SAMPLED else byte_rate,
        start=start,
        size=size,
    )
