"""The faults of one stream, and when each of them is due. Pure."""

import dataclasses
from collections.abc import Iterator, Sequence

from workers.emulator import faults
from workers.emulator.engines.live import events

# The first breaks any parser, the second any table of known messages.
_ODD = {
    faults.Kind.BADJSON: '{"type":"Results","channel_index":[0,',
    faults.Kind.WEIRD: '{"type":"Unheard","of":{"this":"message"}}',
}
_NOREAD_SECONDS = 60.0
_SLOW_SECONDS = 1.0


class Trouble:
    """Follow a stream and tell what goes wrong now."""

    def __init__(self, chosen: Sequence[faults.Fault]) -> None:
        self.is_stalled = False
        self._results = 0
        self._kinds = {fault.kind: fault for fault in chosen}
        self._waiting = [fault for fault in chosen if fault.kind in faults.MIDSTREAM]

    @property
    def is_deaf(self) -> bool:
        """Tell whether no word is heard."""
        return faults.Kind.EMPTY in self._kinds

    @property
    def delay_seconds(self) -> float:
        """Return how long each message takes."""
        return self._value(faults.Kind.SLOW, _SLOW_SECONDS)

    @property
    def noread_seconds(self) -> float:
        """Return how long nothing is read at the beginning."""
        return self._value(faults.Kind.NOREAD, _NOREAD_SECONDS)

    @property
    def odd_messages(self) -> list[str]:
        """Return what is said first and makes no sense."""
        return [text for kind, text in _ODD.items() if kind in self._kinds]

    def count_result(self) -> None:
        """Note that one more result is sent."""
        self._results += 1

    def due(self, seconds: float) -> Iterator[faults.Kind]:
        """Yield each fault once, as soon as its time or its count has come."""
        for fault in list(self._waiting):
            reached = self._results if fault.is_counted else seconds
            if reached < (fault.value or 0):
                continue
            self._waiting.remove(fault)
            self.is_stalled |= fault.kind is faults.Kind.STALL
            yield fault.kind

    def _value(self, kind: faults.Kind, default: float) -> float:
        fault = self._kinds.get(kind)
        if fault is None:
            return 0.0
        return default if fault.value is None else fault.value


def empty(heard: events.Heard) -> events.Heard:
    """Return the result without its words."""
    return dataclasses.replace(heard, words=())
