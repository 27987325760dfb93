"""The audio that is not final yet: what is to be sent, or may have to be again. Pure.

It holds so many seconds, and never more than ``MAX_BYTES`` or ``MAX_PIECES``. When it
is full its oldest part goes: by then that was heard long ago, or nobody could hear it.
"""

from collections import deque

from workers.api.live.chunks import Chunk

MAX_BYTES = 8 * 1024**2
# An object each: 30 s of the shortest messages that the session reads in that time.
MAX_PIECES = 60_000
# Of unsent audio: a client that is faster than the upstream waits from there on.
UNSENT_SECONDS = 5.0
UNSENT_BYTES = 1024**2


class ReplayBuffer:
    """Pieces in order; the first ``sent`` of them are on their way."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pieces: deque[Chunk] = deque()
        self._sent = 0
        self._bytes = self._unsent_bytes = 0
        self.end = 0.0

    def push(self, piece: Chunk, *, end: float) -> None:
        """Take a piece, up to ``end`` of the session."""
        self._pieces.append(piece)
        self._bytes += len(piece.data)
        self._unsent_bytes += len(piece.data)
        self.end = end
        while len(self._pieces) > 1 and self._is_over_full():
            self._drop()

    def take(self) -> Chunk | None:
        """Return the next piece to send."""
        if self._sent == len(self._pieces):
            return None
        piece = self._pieces[self._sent]
        self._sent += 1
        self._unsent_bytes -= len(piece.data)
        return piece

    def forget(self, moment: float) -> None:
        """Let go of what is sent and lies before the moment: it is final."""
        while self._sent > 1 and self._pieces[1].start <= moment:
            self._drop()

    def rewind(self, moment: float) -> float:
        """Have all after the moment sent again; return when that begins.

        Later than the moment: what lay between is lost.
        """
        self._sent = 0
        while self._pieces and self._is_over(moment):
            self._drop()
        if self._pieces:
            first = self._pieces[0]
            rest = first.after(moment)
            if rest is None:
                self._drop()
            elif rest is not first:
                self._bytes -= len(first.data) - len(rest.data)
                self._pieces[0] = rest
        self._unsent_bytes = self._bytes
        return self._pieces[0].start if self._pieces else self.end

    @property
    def is_spent(self) -> bool:
        """Whether all was sent."""
        return self._sent == len(self._pieces)

    @property
    def is_ahead(self) -> bool:
        """Whether more waits to be sent than a client in real time would have made."""
        if self.is_spent:
            return False
        waits = self.end - self._pieces[self._sent].start
        return waits > UNSENT_SECONDS or self._unsent_bytes > UNSENT_BYTES

    @property
    def is_full(self) -> bool:
        """Whether the next piece would cost the oldest."""
        return (
            self._bytes > MAX_BYTES * 0.9
            or self._span() > self._seconds * 0.9
            or len(self._pieces) > MAX_PIECES * 0.9
        )

    def _is_over_full(self) -> bool:
        return (
            self._bytes > MAX_BYTES
            or self._span() > self._seconds
            or len(self._pieces) > MAX_PIECES
        )

    def _is_over(self, moment: float) -> bool:
        return len(self._pieces) > 1 and self._pieces[1].start <= moment

    def _span(self) -> float:
        return self.end - self._pieces[0].start if self._pieces else 0.0

    def _drop(self) -> None:
        gone = self._pieces.popleft()
        self._bytes -= len(gone.data)
        if self._sent:
            self._sent -= 1
        else:
            self._unsent_bytes -= len(gone.data)
