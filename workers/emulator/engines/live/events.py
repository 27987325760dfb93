"""What is heard in a stream, before it is written as Deepgram's messages. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.emulator import engines


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The words of one segment of one channel; times count from the stream's start."""

    channel: int
    start: float
    end: float
    words: Sequence[engines.Word]
    is_final: bool
    speech_final: bool = False
    from_finalize: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted:
    """Somebody began to speak."""

    channel: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceEnd:
    """Nobody has spoken for the time that was asked for."""

    channel: int
    last_word_end: float


Event = Heard | SpeechStarted | UtteranceEnd


class Ear(Protocol):
    """Listen to one stream. What it hears goes to the function it was made with.

    Samples are 16 bits, little-endian, channels interleaved.
    """

    async def hear(self, samples: bytes) -> None:
        """Take the next samples."""

    async def finalize(self, channel: int | None) -> None:
        """Say now what is known of the segment under way, on one channel or all."""

    async def finish(self) -> None:
        """Say what is left; nothing is heard afterwards."""

    async def close(self) -> None:
        """Leave nothing running; harmless when repeated."""
