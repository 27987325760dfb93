"""Opus without a container: each message of the client is one packet."""

import av
import av.error

from workers.emulator.live import containers, decoding

_OPUS_RATE = 48_000
_BAD_PACKETS_BORNE = 50


class OpusDecoder:
    """Decode packet by packet; a bad one costs its own sound only."""

    def __init__(self, channels: int, sink: decoding.Sink) -> None:
        self._sink = sink
        self._codec = av.CodecContext.create("opus", "r")
        self._codec.sample_rate = _OPUS_RATE
        self._codec.layout = "stereo" if channels > 1 else "mono"
        self._resampler = av.AudioResampler("s16")
        self._failures = 0
        self._is_proven = False

    async def feed(self, payload: bytes) -> None:
        """Hand on the sound of one packet."""
        try:
            frames = self._codec.decode(av.Packet(payload))
        except (av.error.FFmpegError, ValueError):
            self._failures += 1
            if not self._is_proven and self._failures > _BAD_PACKETS_BORNE:
                raise decoding.Undecodable from None
            return
        for frame in frames:
            self._is_proven = True
            for piece in self._resampler.resample(frame):
                await self._sink(containers.to_sound(piece))

    async def finish(self) -> None:
        """Raise Undecodable when nothing was sound."""
        if self._failures and not self._is_proven:
            raise decoding.Undecodable

    async def close(self) -> None:
        """Do nothing: there is nothing to let go."""
