"""The canned live engine: the words are in the samples, see `cells`."""

from workers.emulator.engines.live import base, cells, segments


class CannedSession:
    """Splits every channel into cells and emits their events."""

    def __init__(self, stream: base.Stream) -> None:
        self._channels = stream.channels
        self._frame_bytes = 2 * stream.channels
        self._bytes_per_second = stream.sample_rate * self._frame_bytes
        self._received = 0
        # Mixed channels are split as one channel with a higher sample rate.
        mixed = 1 if stream.is_multichannel else stream.channels
        count = stream.channels if stream.is_multichannel else 1
        self._tracks = [
            (
                cells.CellSplitter(stream.sample_rate * mixed),
                segments.Segmenter(channel, stream.event_settings, stream.emit),
            )
            for channel in range(count)
        ]

    async def recognize(self, samples: bytes) -> None:
        """Process the next samples."""
        self._received += len(samples)
        if len(self._tracks) == 1:
            chunks = [samples]
        else:
            chunks = [
                cells.pick_channel(samples, self._channels, channel)
                for channel in range(self._channels)
            ]
        for (splitter, segmenter), chunk in zip(self._tracks, chunks, strict=True):
            for cell in splitter.split(chunk):
                segmenter.add(cell)

    async def finalize(self, channel: int | None) -> None:
        """End the current segments at the last complete cell."""
        for number, (splitter, segmenter) in enumerate(self._tracks):
            if channel in {None, number}:
                segmenter.flush(end=splitter.seconds, from_finalize=True)

    async def finish(self) -> None:
        """End the segments at the end of the audio."""
        seconds = self._received / self._bytes_per_second
        for _, segmenter in self._tracks:
            segmenter.flush(end=seconds, from_finalize=False)

    async def close(self) -> None:
        """Do nothing."""


class CannedPool:
    """Opens a recognizer for each stream, without a limit."""

    max_streams: int | None = None

    async def start(self) -> None:
        """Do nothing."""

    def open_session(self, stream: base.Stream) -> CannedSession:
        """Return a recognizer for one stream."""
        return CannedSession(stream)

    async def close(self) -> None:
        """Do nothing."""


def build() -> CannedPool:
    """Return the recognizer pool of this engine."""
    return CannedPool()
