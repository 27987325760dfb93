"""Speech recognition engines for prerecorded audio.

Engines are imported by name: pocketsphinx is installed only for the demo and tests.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from workers.emulator import audio, config
from workers.emulator.protocol import options

MODULES = {
    "canned": "workers.emulator.engines.canned",
    "pocketsphinx": "workers.emulator.engines.sphinx",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word; a written form that ends in . ? or ! ends a sentence."""

    text: str
    written: str
    start: float
    end: float
    confidence: float
    speaker: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognitionRequest:
    """The audio and options of one recognition."""

    media: audio.Audio
    measure: audio.Measure
    shape: options.Shape
    words: int | None

    @property
    def channels(self) -> int:
        """Return the number of channels to transcribe separately."""
        return self.measure.channels if "multichannel" in self.shape.flags else 1


Channels = tuple[tuple[Word, ...], ...]


class Engine(Protocol):
    """Recognizes speech.

    An engine with `is_inventive` generates speakers, topics and sentiment; others omit
    them and add a warning to the document.
    """

    name: str
    is_inventive: bool

    async def start(self) -> None:
        """Load the engine; returns when it is ready."""

    async def recognize(self, request: RecognitionRequest) -> Channels:
        """Return the words of each channel."""

    async def close(self) -> None:
        """End all child processes."""


def build_engine(settings: config.Config) -> Engine:
    """Return the configured engine, not started."""
    module = importlib.import_module(MODULES[settings.engine])
    return cast("Callable[[config.Config], Engine]", module.build)(settings)
