"""Convert Deepgram's messages to the session's clock and drop repeated words. Pure.

A connection's times count from its first byte, so they are shifted by that byte's time
in the session. After a disconnect, audio is replayed from the last final result; a word
whose middle lies before that point was already sent.
"""

from copy import copy
from typing import Any

from jobs.options import CHANNELS

_CHANNELS = range(CHANNELS[-1])
# Rejects larger values and NaN, which would otherwise be billed.
_MAX_SECONDS = 7 * 86_400.0


class SessionClock:
    """The final position per channel, and the start of the current connection."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._final: dict[int, float] = {}
        self._channels = 1

    @property
    def final(self) -> float:
        """The second up to which all channels are final."""
        if len(self._final) < self._channels:
            return 0.0
        return min(self._final.values(), default=0.0)

    @property
    def channels(self) -> int:
        """The number of channels that Deepgram reports."""
        return self._channels

    def align(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Return a result on the session's clock; None if all its words are repeated.

        Raises KeyError, TypeError or ValueError for an invalid result.
        """
        channel, self._channels = read_channel(message)
        start = read_seconds(message["start"]) + self.offset
        end = start + read_seconds(message["duration"])
        (alternative, *_) = message["channel"]["alternatives"]
        words = [self._move(word) for word in alternative.get("words") or []]
        known = self._final.get(channel, 0.0)
        fresh = [word for word in words if (word["start"] + word["end"]) / 2 >= known]
        if message.get("is_final"):
            self._final[channel] = max(known, end)
        if words and not fresh:
            return None
        moved = {**alternative, "words": fresh}
        if len(fresh) != len(words):
            moved["transcript"] = " ".join(
                str(word.get("punctuated_word") or word["word"]) for word in fresh
            )
        aligned = copy(message)
        aligned["start"] = round(start, 6)
        aligned["channel"] = {**message["channel"], "alternatives": [moved]}
        return aligned

    def mark_final(self, end: float) -> None:
        """Mark the session's audio up to this second as final, of one channel."""
        self._final[0] = max(self._final.get(0, 0.0), end)

    def move(self, moment: object) -> float:
        """Return a time of the connection on the session's clock."""
        seconds = float(moment) if isinstance(moment, int | float) else 0.0
        # Deepgram sends -1 for "none".
        return seconds if seconds < 0 else round(seconds + self.offset, 6)

    def _move(self, word: dict[str, Any]) -> dict[str, Any]:
        start, end = read_seconds(word["start"]), read_seconds(word["end"])
        return {
            **word,
            "start": round(start + self.offset, 6),
            "end": round(end + self.offset, 6),
        }


def read_channel(message: dict[str, Any]) -> tuple[int, int]:
    """Return a message's channel and the number of channels; raises ValueError."""
    index = message.get("channel_index", message.get("channel"))
    if not isinstance(index, list) or not index:
        return 0, 1
    channel = int(index[0])
    total = int(index[1]) if len(index) > 1 else 1
    if channel not in _CHANNELS or total > len(_CHANNELS):
        raise ValueError("invalid channel")
    return channel, max(total, channel + 1)


def read_seconds(value: object) -> float:
    """Return a time in seconds; raises ValueError for an implausible one."""
    seconds = float(value)  # type: ignore[arg-type]
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ValueError("implausible time")
    return seconds
