"""Decoders of live audio. Raw encodings are decoded here, without a library."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from workers.emulator.protocol import options

_SAMPLE_BYTES = 2
_WIDTHS = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}


class Undecodable(Exception):
    """The data is not audio, or has an unsupported codec."""


@dataclass(frozen=True, slots=True)
class PcmChunk:
    """16-bit little-endian samples, channels interleaved, complete frames only."""

    samples: bytes
    sample_rate: int
    channels: int


PcmSink = Callable[[PcmChunk], Awaitable[None]]


class Decoder(Protocol):
    """Decodes bytes and passes samples to a sink."""

    async def feed(self, payload: bytes) -> None:
        """Decode the next bytes, or raise Undecodable."""

    async def finish(self) -> None:
        """Decode the remaining bytes, or raise Undecodable."""

    async def close(self) -> None:
        """Release all resources; idempotent."""


class RawDecoder:
    """Decodes samples without a container."""

    def __init__(self, raw: options.RawFormat, sink: PcmSink) -> None:
        self._raw = raw
        self._sink = sink
        self._rest = b""
        self._frame_bytes = _WIDTHS[raw.encoding] * raw.channels
        self._to_linear = _TO_LINEAR[raw.encoding]

    async def feed(self, payload: bytes) -> None:
        """Pass on complete frames; buffer the rest."""
        if self._rest:
            payload = self._rest + payload
        whole = len(payload) - len(payload) % self._frame_bytes
        self._rest = payload[whole:]
        if whole:
            samples = self._to_linear(payload[:whole])
            await self._sink(
                PcmChunk(samples, self._raw.sample_rate, self._raw.channels)
            )

    async def finish(self) -> None:
        """Drop an incomplete frame."""
        self._rest = b""

    async def close(self) -> None:
        """Do nothing."""


def _copy(samples: bytes) -> bytes:
    return samples


def _from_float(samples: bytes) -> bytes:
    """Convert floats in [-1, 1] to 16-bit integers."""
    floats = memoryview(samples).cast("f")
    return b"".join(
        max(-32768, min(32767, int(value * 32767))).to_bytes(2, "little", signed=True)
        for value in floats
    )


def _from_table(low: bytes, high: bytes) -> Callable[[bytes], bytes]:
    def convert(samples: bytes) -> bytes:
        linear = bytearray(len(samples) * _SAMPLE_BYTES)
        linear[0::_SAMPLE_BYTES] = samples.translate(low)
        linear[1::_SAMPLE_BYTES] = samples.translate(high)
        return bytes(linear)

    return convert


def _mulaw(code: int) -> int:
    """Return the sample of a µ-law byte (ITU-T G.711)."""
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return 0x84 - magnitude if code & 0x80 else magnitude - 0x84


def _alaw(code: int) -> int:
    """Return the sample of an A-law byte (ITU-T G.711)."""
    code ^= 0x55
    magnitude = (code & 0x0F) << 4
    segment = (code & 0x70) >> 4
    magnitude += 0x108 if segment else 8
    if segment > 1:
        magnitude <<= segment - 1
    return magnitude if code & 0x80 else -magnitude


def _build_tables(decode: Callable[[int], int]) -> tuple[bytes, bytes]:
    pairs = [decode(code).to_bytes(2, "little", signed=True) for code in range(256)]
    return bytes(pair[0] for pair in pairs), bytes(pair[1] for pair in pairs)


_TO_LINEAR: dict[str, Callable[[bytes], bytes]] = {
    "linear16": _copy,
    "linear32": _from_float,
    "mulaw": _from_table(*_build_tables(_mulaw)),
    "alaw": _from_table(*_build_tables(_alaw)),
}
