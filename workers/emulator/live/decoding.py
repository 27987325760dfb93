"""Decoders of live audio without a container: samples, and packets of Opus."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import av
import av.error

from workers.emulator.protocol import options

MAX_BAD_PACKETS = 50
_WIDTHS = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}
# FFmpeg's codecs of encodings other than 16-bit samples.
_CODECS = {"linear32": "pcm_f32le", "mulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
_OPUS_RATE = 48_000


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
    """Decodes samples."""

    def __init__(self, raw: options.RawFormat, sink: PcmSink) -> None:
        self._raw = raw
        self._sink = sink
        self._rest = b""
        self._frame_bytes = _WIDTHS[raw.encoding] * raw.channels
        self._to_linear = _build_converter(raw)

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


class OpusDecoder:
    """Decodes Opus, one packet per message; skips invalid ones."""

    def __init__(self, channels: int, sink: PcmSink) -> None:
        self._sink = sink
        self._codec = _open_codec("opus", _OPUS_RATE, min(channels, 2))
        self._resampler = av.AudioResampler("s16")
        self._failures = 0
        self._has_decoded = False

    async def feed(self, payload: bytes) -> None:
        """Decode one packet."""
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.error.FFmpegError, ValueError):
            self._failures += 1
            if not self._has_decoded and self._failures > MAX_BAD_PACKETS:
                raise Undecodable from None
            return
        for frame in frames:
            self._has_decoded = True
            for resampled in self._resampler.resample(frame):
                await self._sink(to_pcm(resampled))

    async def finish(self) -> None:
        """Raise Undecodable when no packet could be decoded."""
        if self._failures and not self._has_decoded:
            raise Undecodable

    async def close(self) -> None:
        """Do nothing."""


def to_pcm(frame: av.AudioFrame) -> PcmChunk:
    """Return the samples of an interleaved 16-bit frame."""
    channels = len(frame.layout.channels)
    length = frame.samples * channels * 2
    return PcmChunk(bytes(frame.planes[0])[:length], frame.sample_rate, channels)


def _build_converter(raw: options.RawFormat) -> Callable[[bytes], bytes]:
    """Return a function that converts complete frames to 16-bit samples."""
    if raw.encoding not in _CODECS:
        return bytes
    codec = _open_codec(_CODECS[raw.encoding], raw.sample_rate, raw.channels)
    resampler = av.AudioResampler("s16")

    def convert(samples: bytes) -> bytes:
        return b"".join(
            to_pcm(resampled).samples
            for frame in codec.decode(av.Packet(samples))
            for resampled in resampler.resample(frame)
        )

    return convert


def _open_codec(name: str, sample_rate: int, channels: int) -> Any:
    codec: Any = av.CodecContext.create(name, "r")
    codec.sample_rate = sample_rate
    codec.layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
    return codec
