"""The seam between a stream and the engine that listens to it."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from workers.deepgram.emulator.live import events, segments

MODULES = {
    "canned": "workers.deepgram.emulator.live.canned_ear",
    "pocketsphinx": "workers.deepgram.emulator.live.sphinx_ear",
}

Say = Callable[[events.Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What an ear must know of its stream."""

    sample_rate: int
    channels: int
    is_multichannel: bool
    manner: segments.Manner


def open_ear(engine: str, stream: Stream, say: Say) -> events.Ear:
    """Return an ear of the engine with this name."""
    module = importlib.import_module(MODULES[engine])
    return cast("Callable[[Stream, Say], events.Ear]", module.build)(stream, say)
