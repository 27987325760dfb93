"""Decodes Opus without a container: one packet per message."""

import av
import av.error

from workers.emulator.live import containers, decoding

_OPUS_RATE = 48_000
_MAX_BAD_PACKETS = 50


class OpusDecoder:
    """Decodes Opus packets; skips invalid ones."""

    def __init__(self, channels: int, sink: decoding.PcmSink) -> None:
        self._sink = sink
        self._codec = av.CodecContext.create("opus", "r")
        self._codec.sample_rate = _OPUS_RATE
        self._codec.layout = "stereo" if channels > 1 else "mono"
        self._resampler = av.AudioResampler("s16")
        self._failures = 0
        self._has_decoded = False

    async def feed(self, payload: bytes) -> None:
        """Decode one packet."""
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.error.FFmpegError, ValueError):
            self._failures += 1
            if not self._has_decoded and self._failures > _MAX_BAD_PACKETS:
                raise decoding.Undecodable from None
            return
        for frame in frames:
            self._has_decoded = True
            for resampled in self._resampler.resample(frame):
                await self._sink(containers.to_pcm(resampled))

    async def finish(self) -> None:
        """Raise Undecodable when no packet could be decoded."""
        if self._failures and not self._has_decoded:
            raise decoding.Undecodable

    async def close(self) -> None:
        """Do nothing."""
