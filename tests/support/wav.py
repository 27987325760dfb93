"""WAV headers, byte by byte."""

import struct

RIFF = b"RIFF\xff\xff\xff\xffWAVE"


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def format_of(
    *, kind=1, channels=1, sample_rate=16_000, byte_rate=None, block=None, bits=16
) -> bytes:
    frame = channels * bits // 8
    byte_rate = sample_rate * frame if byte_rate is None else byte_rate
    block = frame if block is None else block
    return struct.pack("<HHIIHH", kind, channels, sample_rate, byte_rate, block, bits)


def header(**fields) -> bytes:
    data = b"data\xff\xff\xff\xff"
    return RIFF + chunk(b"LIST", b"odd") + chunk(b"fmt ", format_of(**fields)) + data
