"""Turns of Flux on the session's clock, continuous across reconnects. Pure.

After a disconnect the audio since the last ended turn is replayed, so a turn that the
client has seen start begins again: its second start becomes an update.
https://developers.deepgram.com/docs/flux/state
"""

from typing import Any

from workers.api.live.upstream.alignment import SessionClock, read_seconds
from workers.api.live.wire_format import MessageKind, ServerMessage

_UPDATE, _START, _END = "Update", "StartOfTurn", "EndOfTurn"
_CHANNEL = 0


class Turns:
    """The turns of one session."""

    def __init__(self, clock: SessionClock) -> None:
        self._clock = clock
        self._ended = 0
        self._is_open = False

    def read(self, message: dict[str, Any]) -> ServerMessage:
        """Return the message for the client; an ended turn is a final result.

        Raises KeyError, TypeError or ValueError for an invalid message.
        """
        start = self._clock.move(read_seconds(message["audio_window_start"]))
        end = self._clock.move(read_seconds(message["audio_window_end"]))
        event, words = str(message["event"]), list(map(self._move, message["words"]))
        if event == _START and self._is_open:
            event = _UPDATE
        aligned = {
            **message,
            "event": event,
            "turn_index": self._ended,
            "audio_window_start": start,
            "audio_window_end": end,
            "words": words,
        }
        is_final = event == _END
        self._is_open = (self._is_open or event == _START) and not is_final
        if is_final:
            self._ended += 1
        if not self._is_open:  # silence needs no replay either
            self._clock.mark_final(end)
        fields = {
            "is_final": is_final,
            "speech_final": is_final,
            "from_finalize": message.get("trigger") == "manual",
            "channel": _CHANNEL,
            "start": start,
            "end": end,
            "text": str(message["transcript"]),
            "words": words,
        }
        is_replaceable = is_final or event == _UPDATE
        kind = MessageKind.TRANSCRIPT if is_replaceable else MessageKind.TURN
        return ServerMessage(kind, fields, aligned)

    def _move(self, word: dict[str, Any]) -> dict[str, Any]:
        moved = {
            name: self._clock.move(read_seconds(word[name]))
            for name in ("start", "end")
            if word.get(name) is not None
        }
        return {**word, **moved}


def build_alternative(message: ServerMessage) -> dict[str, Any]:
    """Return an ended turn as the alternative of a result, to store."""
    words = [
        {**word, "punctuated_word": word["word"]} for word in message.fields["words"]
    ]
    confidences = [float(word.get("confidence") or 0) for word in words]
    return {
        "transcript": message.fields["text"],
        "confidence": sum(confidences) / len(confidences) if confidences else 0.0,
        "words": words,
    }
