"""Speech recognition engines for prerecorded audio.

An engine is loaded by name, because pocketsphinx is only installed where the demo or
the tests run.
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
    """One word as heard; a written form that ends in . ? or ! ends a sentence."""

    text: str
    written: str
    start: float
    end: float
    confidence: float
    speaker: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What an engine is asked to do."""

    sound: audio.Audio
    measure: audio.Measure
    shape: options.Shape
    words: int | None

    @property
    def channels(self) -> int:
        """Return how many channels are wanted apart."""
        return self.measure.channels if "multichannel" in self.shape.flags else 1


Channels = tuple[tuple[Word, ...], ...]


class Engine(Protocol):
    """Recognise speech.

    `is_inventive` tells whether the engine makes up what it cannot hear: speakers,
    topics, sentiment. One that listens leaves them out and says so.
    """

    name: str
    is_inventive: bool

    async def start(self) -> None:
        """Return once the first call can be served at full speed."""

    async def recognise(self, assignment: Assignment) -> Channels:
        """Return the words of each channel."""

    async def close(self) -> None:
        """Leave no process behind."""


def build_engine(settings: config.Config) -> Engine:
    """Return the engine the settings name, not started yet."""
    module = importlib.import_module(MODULES[settings.engine])
    return cast("Callable[[config.Config], Engine]", module.build)(settings)
