"""Interface between a live stream and its recognition engine."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from workers.emulator.engines.live import events, segments

MODULES = {
    "canned": "workers.emulator.engines.live.canned",
    "pocketsphinx": "workers.emulator.engines.live.sphinx",
}

EventSink = Callable[[events.Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Format, settings and callbacks of one stream.

    The recognizer calls `emit` for each event, and `on_failure` when it fails.
    """

    sample_rate: int
    channels: int
    is_multichannel: bool
    event_settings: segments.EventSettings
    emit: EventSink
    on_failure: Callable[[], None]


class RecognizerPool(Protocol):
    """Opens a recognizer for each stream; `max_streams` of None is unlimited."""

    max_streams: int | None

    async def start(self) -> None:
        """Prepare the first recognizer."""

    def open_session(self, stream: Stream) -> events.RecognizerSession:
        """Return a recognizer for one stream."""

    async def close(self) -> None:
        """End all child processes."""


def build_pool(engine: str) -> RecognizerPool:
    """Return the recognizer pool of the engine, not started."""
    module = importlib.import_module(MODULES[engine])
    return cast("Callable[[], RecognizerPool]", module.build)()
