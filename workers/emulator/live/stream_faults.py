"""The faults of one live stream and when each applies. Performs no I/O."""

import dataclasses
from collections.abc import Iterator, Sequence

from workers.emulator import faults
from workers.emulator.engines.live import events

# The first is invalid JSON, the second an unknown message type.
_INVALID_MESSAGES = {
    faults.Kind.BADJSON: '{"type":"Results","channel_index":[0,',
    faults.Kind.WEIRD: '{"type":"Unheard","of":{"this":"message"}}',
}
_NOREAD_SECONDS = 60.0
_SLOW_SECONDS = 1.0


class StreamFaults:
    """Tracks a stream and returns the faults to apply now."""

    def __init__(self, chosen: Sequence[faults.Fault]) -> None:
        self.is_stalled = False
        self._results = 0
        self._kinds = {fault.kind: fault for fault in chosen}
        self._pending = [fault for fault in chosen if fault.kind in faults.MIDSTREAM]

    @property
    def has_empty_results(self) -> bool:
        """Return whether results have no words."""
        return faults.Kind.EMPTY in self._kinds

    @property
    def delay_seconds(self) -> float:
        """Return the delay of each message."""
        return self._value(faults.Kind.SLOW, _SLOW_SECONDS)

    @property
    def noread_seconds(self) -> float:
        """Return how long to wait before reading from the client."""
        return self._value(faults.Kind.NOREAD, _NOREAD_SECONDS)

    @property
    def invalid_messages(self) -> list[str]:
        """Return the invalid messages to send first."""
        return [text for kind, text in _INVALID_MESSAGES.items() if kind in self._kinds]

    def count_result(self) -> None:
        """Count a sent result."""
        self._results += 1

    def due(self, seconds: float) -> Iterator[faults.Kind]:
        """Yield each fault once, when its seconds or number of results is reached."""
        for fault in list(self._pending):
            reached = self._results if fault.is_counted else seconds
            if reached < (fault.value or 0):
                continue
            self._pending.remove(fault)
            self.is_stalled |= fault.kind is faults.Kind.STALL
            yield fault.kind

    def _value(self, kind: faults.Kind, default: float) -> float:
        fault = self._kinds.get(kind)
        if fault is None:
            return 0.0
        return default if fault.value is None else fault.value


def remove_words(result: events.Result) -> events.Result:
    """Return the result without words."""
    return dataclasses.replace(result, words=())
