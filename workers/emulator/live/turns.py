"""Flux, `/v2/listen`: writes recognition events as turns.

https://developers.deepgram.com/docs/flux/state
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.emulator import engines
from workers.emulator.engines.live import events
from workers.emulator.live import messages
from workers.emulator.protocol import options, refusals
from workers.emulator.results import passages

Json = dict[str, Any]

PATH = "/v2/listen"
MODELS = ("flux-general-en", "flux-general-multi")
CONTROLS = ("CloseStream", "Configure", "ForceEndTurn")
RANGES = {
    "eager_eot_threshold": (0.3, 0.9),
    "eot_threshold": (0.5, 1.0),
    "eot_timeout_ms": (500, 60_000),
}
_DEFAULTS: Json = {"eot_threshold": 0.7, "eot_timeout_ms": 5000}
_LIKELY, _CERTAIN = 0.5, 0.9


def parse_thresholds(pairs: options.Pairs) -> Json:
    """Return the thresholds of a query, or raise Refused with a 400."""
    last = dict(pairs)
    if last.get("model") not in MODELS:
        raise refusals.Refused(refusals.NO_SUCH_MODEL)
    given = {name: _read_number(last[name]) for name in RANGES if name in last}
    if wrong := find_invalid(given):
        raise refusals.invalid_query(f"{wrong} is out of range")
    return {**_DEFAULTS, **given}


def find_invalid(thresholds: Mapping[str, Any]) -> str | None:
    """Return the name of an invalid threshold, if any."""
    for name, value in thresholds.items():
        low, high = RANGES.get(name, (1, 0))
        if not isinstance(value, int | float) or not low <= value <= high:
            return name
    return None


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise refusals.invalid_query("invalid float literal") from None


@dataclass(slots=True, kw_only=True)
class TurnWriter:
    """Writes the messages of one Flux stream."""

    request_id: str
    thresholds: Json
    channels: int = 1
    # CloseStream ends no turn.
    is_closing: bool = False
    keyterms: list[str] = field(default_factory=list)
    _sequence: int = 0
    _turn: int = 0
    _is_open: bool = False
    _is_eager: bool = False
    _start: float | None = None
    _words: list[engines.Word] = field(default_factory=list)

    def open(self) -> str | None:
        """Return the first message."""
        return self._dump({"type": "Connected"})

    def metadata(self, *, seconds: float) -> str | None:  # noqa: ARG002  as of v1
        """Return None: a Flux stream ends without metadata."""
        return None

    def write(self, event: events.Event) -> Iterator[str]:
        """Yield the messages of an event."""
        if not isinstance(event, events.Result):
            return
        words = [*self._words, *event.words]
        self._start = event.start if self._start is None else self._start
        if words and not self._is_open:
            self._is_open = True
            yield self._turn_info("StartOfTurn", event, words)
        elif words and self._is_eager:
            self._is_eager = False
            yield self._turn_info("TurnResumed", event, words)
        if event.is_final:
            self._words = words
        is_turn = self._is_open and event.is_final
        # Forced before the end, whose result comes after it.
        is_dropped = self.is_closing and not event.from_finalize
        if is_turn and event.speech_final and not is_dropped:
            yield from self._end(event, words)
        elif is_turn and "eager_eot_threshold" in self.thresholds:
            self._is_eager = True
            yield self._turn_info("EagerEndOfTurn", event, words, _LIKELY)
        else:
            yield self._turn_info("Update", event, words)
        if not self._is_open:
            self._start = None

    def configured(self, control: messages.ControlMessage) -> str:
        """Return the response to `Configure`."""
        thresholds = control.fields.get("thresholds") or {}
        if wrong := find_invalid(thresholds):
            failure = {"code": "INVALID_CONFIGURATION", "description": wrong}
            return self._dump({"type": "ConfigureFailure", **failure})
        self.thresholds |= thresholds
        if control.keyterms is not None:
            self.keyterms = list(control.keyterms)
        fields = {"thresholds": self.thresholds, "keyterms": self.keyterms}
        return self._dump({"type": "ConfigureSuccess", **fields})

    def _end(self, event: events.Result, words: list[engines.Word]) -> Iterator[str]:
        if "eager_eot_threshold" in self.thresholds and not event.from_finalize:
            yield self._turn_info("EagerEndOfTurn", event, words, _LIKELY)
        trigger = "manual" if event.from_finalize else "model"
        yield self._turn_info("EndOfTurn", event, words, _CERTAIN, trigger=trigger)
        self._turn += 1
        self._is_open = self._is_eager = False
        self._words = []

    def _turn_info(
        self,
        name: str,
        event: events.Result,
        words: list[engines.Word],
        confidence: float = 0.1,
        **more: str,
    ) -> str:
        return self._dump(
            {
                "type": "TurnInfo",
                "event": name,
                "turn_index": self._turn,
                "audio_window_start": round(self._start or 0.0, 6),
                "audio_window_end": round(event.end, 6),
                "transcript": passages.join_text(words, is_written=True),
                "words": [
                    {
                        "word": word.written,
                        "confidence": word.confidence,
                        "start": word.start,
                        "end": word.end,
                    }
                    for word in words
                ],
                "end_of_turn_confidence": confidence,
                **more,
            }
        )

    def _dump(self, fields: Json) -> str:
        sequence, self._sequence = self._sequence, self._sequence + 1
        numbered = {"request_id": self.request_id, "sequence_id": sequence}
        return json.dumps({**fields, **numbered}, separators=(",", ":"))
