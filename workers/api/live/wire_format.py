"""What a session tells and hears, apart from the words a door uses for it. Pure.

The messages of ``/v1/live`` are here; Deepgram's own door speaks another dialect.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from jobs.bounded_json import loads_bounded
from jobs.errors import InvalidRequest

MAX_TEXT = 4096


class MessageKind(StrEnum):
    """What can be told."""

    READY = "ready"
    TRANSCRIPT = "transcript"
    UTTERANCE_END = "utterance_end"
    SPEECH_STARTED = "speech_started"
    WARNING = "warning"
    ERROR = "error"
    CLOSED = "closed"


class ClientCommand(StrEnum):
    """What a client can say beside its audio."""

    FINALIZE = "finalize"
    KEEPALIVE = "keepalive"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMessage:
    """One thing that is told: our fields, and the upstream's own message."""

    kind: MessageKind
    fields: dict[str, Any]
    # With times on the session's clock; None where it is not the upstream's.
    upstream: dict[str, Any] | None = None

    @property
    def is_interim(self) -> bool:
        """Whether a later one takes its place."""
        return self.kind == MessageKind.TRANSCRIPT and not self.fields["is_final"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseReason:
    """How a session ends: the reason, what is wrong if anything is, the close code."""

    reason: str
    code: int = 1000
    error_code: str = ""
    detail: str = ""


class WireFormat(Protocol):
    """How a door says things."""

    # What an empty message of audio means.
    empty: ClientCommand | None
    # The characters of a text message: more end the session before they are parsed.
    max_text: int

    def encode(self, told: ServerMessage) -> str | None:
        """Return the text of a message; None for what this door does not tell."""

    def parse(self, text: str) -> ClientCommand | ServerMessage | None:
        """Return what a client says; raises InvalidRequest, which ends the session.

        What is Told is its answer. None: nothing to do.
        """

    def closing(self, end: CloseReason) -> tuple[int, str]:
        """Return the close code and reason."""


class PlatformWireFormat:
    """The messages of ``/v1/live``."""

    empty: ClientCommand | None = None
    max_text = MAX_TEXT

    def encode(self, told: ServerMessage) -> str | None:
        """Return the message as JSON."""
        fields = {"type": str(told.kind), **told.fields}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)

    def parse(self, text: str) -> ClientCommand | None:
        """Read ``{"type": …}``; raises InvalidRequest for anything else."""
        try:
            said = loads_bounded(text, max_chars=self.max_text)
        except ValueError:
            said = None
        if isinstance(said, dict) and set(said) == {"type"}:
            for command in ClientCommand:
                if said["type"] == command:
                    return command
        raise InvalidRequest(
            "A text message is a JSON object whose only field, type, is finalize,"
            " keepalive or close. Audio goes in binary messages.",
            code="message_invalid",
        )

    def closing(self, end: CloseReason) -> tuple[int, str]:
        """Close with the end's own code."""
        return end.code, end.error_code or end.reason


_WORD = ("word", "punctuated_word", "start", "end", "confidence", "speaker", "language")


def build_transcript(message: dict[str, Any], *, channel: int) -> dict[str, Any]:
    """Return our fields of an aligned result."""
    (alternative, *_) = message["channel"]["alternatives"]
    start = float(message["start"])  # checked when it was aligned
    return {
        "is_final": message.get("is_final") is True,
        "speech_final": message.get("speech_final") is True,
        "from_finalize": message.get("from_finalize") is True,
        "channel": channel,
        "start": start,
        "end": round(start + float(message["duration"]), 6),
        "text": str(alternative.get("transcript") or ""),
        "confidence": alternative.get("confidence"),
        "words": [
            {name: word[name] for name in _WORD if name in word}
            for word in alternative.get("words") or []
        ],
    }
