"""The seam between a stream and the engine that listens to it."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from workers.emulator.engines.live import events, segments

MODULES = {
    "canned": "workers.emulator.engines.live.canned",
    "pocketsphinx": "workers.emulator.engines.live.sphinx",
}

Say = Callable[[events.Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What an ear must know of its stream.

    It calls `say` for whatever it hears, and `fail` when it can hear no more.
    """

    sample_rate: int
    channels: int
    is_multichannel: bool
    manner: segments.Manner
    say: Say
    fail: Callable[[], None]


class Audience(Protocol):
    """Have an ear for every stream; at most so many when a number is given."""

    most_streams: int | None

    async def start(self) -> None:
        """Prepare for the first stream."""

    def open_ear(self, stream: Stream) -> events.Ear:
        """Return an ear for one stream."""

    async def close(self) -> None:
        """Leave no process behind."""


def build_audience(engine: str) -> Audience:
    """Return the ears of the engine with this name, not started yet."""
    module = importlib.import_module(MODULES[engine])
    return cast("Callable[[], Audience]", module.build)()
