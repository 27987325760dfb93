"""Recognition events of a live stream, independent of Deepgram's message format."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.emulator import engines


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The words of one segment of one channel; times in seconds from the start."""

    channel: int
    start: float
    end: float
    words: Sequence[engines.Word]
    is_final: bool
    speech_final: bool = False
    from_finalize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted:
    """Speech started after silence."""

    channel: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceEnd:
    """No word followed within `utterance_end_ms`."""

    channel: int
    last_word_end: float


Event = Result | SpeechStarted | UtteranceEnd


class RecognizerSession(Protocol):
    """Recognizes one stream and emits its events.

    Samples are 16-bit little-endian, channels interleaved.
    """

    async def recognize(self, samples: bytes) -> None:
        """Process the next samples."""

    async def finalize(self, channel: int | None) -> None:
        """End the current segment of one channel, or of all."""

    async def finish(self) -> None:
        """Emit the remaining results; the last call before `close`."""

    async def close(self) -> None:
        """Release all resources; idempotent."""
