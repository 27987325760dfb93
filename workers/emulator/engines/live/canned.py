"""The canned engine's ear: the words are in the samples, see `cells`."""

from workers.emulator.engines.live import base as live_engines_base
from workers.emulator.engines.live import cells, segments


class CannedEar:
    """Follow every channel at once; nothing is ever waited for."""

    def __init__(self, stream: live_engines_base.Stream) -> None:
        self._channels = stream.channels
        self._frame_bytes = 2 * stream.channels
        self._bytes_per_second = stream.sample_rate * self._frame_bytes
        self._received = 0
        # All channels together are cut as if they were one of a higher rate.
        joined = 1 if stream.is_multichannel else stream.channels
        count = stream.channels if stream.is_multichannel else 1
        self._tracks = [
            (
                cells.Cutter(stream.sample_rate * joined),
                segments.Segmenter(channel, stream.manner, stream.say),
            )
            for channel in range(count)
        ]

    async def hear(self, samples: bytes) -> None:
        """Take the next samples."""
        self._received += len(samples)
        if len(self._tracks) == 1:
            pieces = [samples]
        else:
            pieces = [
                cells.pick_channel(samples, self._channels, channel)
                for channel in range(self._channels)
            ]
        for (cutter, segmenter), piece in zip(self._tracks, pieces, strict=True):
            for cell in cutter.cut(piece):
                segmenter.take(cell)

    async def finalize(self, channel: int | None) -> None:
        """End the segments under way where the last whole cell ends."""
        for number, (cutter, segmenter) in enumerate(self._tracks):
            if channel in {None, number}:
                segmenter.flush(end=cutter.seconds, from_finalize=True)

    async def finish(self) -> None:
        """End the segments with the audio."""
        seconds = self._received / self._bytes_per_second
        for _, segmenter in self._tracks:
            segmenter.flush(end=seconds, from_finalize=False)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go."""


class CannedAudience:
    """Have an ear for as many streams as there are."""

    most_streams: int | None = None

    async def start(self) -> None:
        """Do nothing: there is nothing to load."""

    def open_ear(self, stream: live_engines_base.Stream) -> CannedEar:
        """Return an ear for one stream."""
        return CannedEar(stream)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go."""


def build() -> CannedAudience:
    """Return the ears of this engine."""
    return CannedAudience()
