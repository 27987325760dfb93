"""The audio without a final result, unsent or to replay after a disconnect. Pure.

Limited in seconds, ``MAX_BYTES`` and ``MAX_CHUNKS``. When full, the oldest chunk is
dropped: Deepgram processed it long ago, or has been unavailable all the time.
"""

from collections import deque

from workers.api.live.upstream.chunks import Chunk

MAX_BYTES = 8 * 1024**2
# 30 s of the shortest messages at the maximum rate.
MAX_CHUNKS = 60_000
# Limits of unsent audio: a client faster than Deepgram waits above them.
UNSENT_SECONDS = 5.0
UNSENT_BYTES = 1024**2


class ReplayBuffer:
    """Chunks in order; the first ``_sent`` of them are sent."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._chunks: deque[Chunk] = deque()
        self._sent = 0
        self._bytes = self._unsent_bytes = 0
        self.end = 0.0

    def push(self, chunk: Chunk, *, end: float) -> None:
        """Append a chunk that ends at second ``end`` of the session."""
        self._chunks.append(chunk)
        self._bytes += len(chunk.data)
        self._unsent_bytes += len(chunk.data)
        self.end = end
        while len(self._chunks) > 1 and self._is_over_full():
            self._drop()

    def next_chunk(self) -> Chunk | None:
        """Return the next chunk to send, or None."""
        if self._sent == len(self._chunks):
            return None
        chunk = self._chunks[self._sent]
        self._sent += 1
        self._unsent_bytes -= len(chunk.data)
        return chunk

    def discard_before(self, moment: float) -> None:
        """Drop sent chunks that end before the moment: their results are final."""
        while self._sent > 1 and self._chunks[1].start <= moment:
            self._drop()

    def rewind(self, moment: float) -> float:
        """Mark all audio after the moment as unsent; return its start.

        A start later than the moment means that the audio between was dropped.
        """
        self._sent = 0
        while self._chunks and self._is_first_before(moment):
            self._drop()
        if self._chunks:
            first = self._chunks[0]
            rest = first.after(moment)
            if rest is None:
                self._drop()
            elif rest is not first:
                self._bytes -= len(first.data) - len(rest.data)
                self._chunks[0] = rest
        self._unsent_bytes = self._bytes
        return self._chunks[0].start if self._chunks else self.end

    @property
    def is_drained(self) -> bool:
        """Whether all chunks are sent."""
        return self._sent == len(self._chunks)

    @property
    def is_ahead(self) -> bool:
        """Whether more is unsent than a client in real time produces."""
        if self.is_drained:
            return False
        unsent = self.end - self._chunks[self._sent].start
        return unsent > UNSENT_SECONDS or self._unsent_bytes > UNSENT_BYTES

    @property
    def is_full(self) -> bool:
        """Whether the limits are nearly reached (90 percent)."""
        return (
            self._bytes > MAX_BYTES * 0.9
            or self._span() > self._seconds * 0.9
            or len(self._chunks) > MAX_CHUNKS * 0.9
        )

    def _is_over_full(self) -> bool:
        return (
            self._bytes > MAX_BYTES
            or self._span() > self._seconds
            or len(self._chunks) > MAX_CHUNKS
        )

    def _is_first_before(self, moment: float) -> bool:
        return len(self._chunks) > 1 and self._chunks[1].start <= moment

    def _span(self) -> float:
        return self.end - self._chunks[0].start if self._chunks else 0.0

    def _drop(self) -> None:
        dropped = self._chunks.popleft()
        self._bytes -= len(dropped.data)
        if self._sent:
            self._sent -= 1
        else:
            self._unsent_bytes -= len(dropped.data)
