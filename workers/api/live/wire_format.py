"""The messages of a live session, and their format on `/v1/live`. Pure.

``workers.api.listen.deepgram_wire_format`` has Deepgram's format.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from jobs.errors import InvalidRequest
from jobs.parsing.bounded_json import loads_bounded

MAX_TEXT = 4096


class MessageKind(StrEnum):
    """Types of messages to the client."""

    READY = "ready"
    TRANSCRIPT = "transcript"
    UTTERANCE_END = "utterance_end"
    SPEECH_STARTED = "speech_started"
    WARNING = "warning"
    ERROR = "error"
    CLOSED = "closed"
    # A change of a turn of Flux.
    TURN = "turn"
    # The response to a change of options.
    CONFIGURED = "configured"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigureRequest:
    """A valid change of options: the message to forward, and the options it sets."""

    message: Mapping[str, Any]
    options: Mapping[str, Any]


class ClientCommand(StrEnum):
    """Commands in a client's text messages."""

    FINALIZE = "finalize"
    KEEPALIVE = "keepalive"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """A message to the client: the platform's fields and Deepgram's message."""

    kind: MessageKind
    fields: dict[str, Any]
    # Deepgram's message with times on the session's clock; None if it has none.
    upstream: dict[str, Any] | None = None

    @property
    def is_interim(self) -> bool:
        """Whether a later message replaces this one."""
        return self.kind == MessageKind.TRANSCRIPT and not self.fields["is_final"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseReason:
    """Why a session ends: the reason, the error if any, and the close code."""

    reason: str
    code: int = 1000
    error_code: str = ""
    detail: str = ""


def build_configure_failure(code: str, description: str) -> ServerMessage:
    """Return the response to a rejected change of options."""
    fields = {"type": "ConfigureFailure", "code": code, "description": description}
    return ServerMessage(MessageKind.CONFIGURED, {}, upstream=fields)


def build_warning(*, code: str, detail: str, **more: Any) -> ServerMessage:
    """Return a warning."""
    return ServerMessage(MessageKind.WARNING, {"code": code, "detail": detail, **more})


ParsedText = ClientCommand | ConfigureRequest | ServerMessage | None


class WireFormat(Protocol):
    """The format of the messages on one endpoint."""

    # The meaning of an empty audio message.
    empty: ClientCommand | None
    # The maximum characters of a text message; a longer one ends the session unparsed.
    max_text: int

    def encode(self, message: ServerMessage) -> str | None:
        """Return the text of a message; None if this format does not have it."""

    def parse(self, text: str) -> ParsedText:
        """Return the command, change or response; None if there is nothing to do.

        Raises InvalidRequest, which ends the session.
        """

    def closing(self, reason: CloseReason) -> tuple[int, str]:
        """Return the close code and the reason text."""


class PlatformWireFormat:
    """The messages of ``/v1/live``."""

    empty: ClientCommand | None = None
    max_text = MAX_TEXT

    def encode(self, message: ServerMessage) -> str | None:
        """Return the message as JSON."""
        fields = {"type": str(message.kind), **message.fields}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)

    def parse(self, text: str) -> ClientCommand | None:
        """Parse ``{"type": …}``; raises InvalidRequest for anything else."""
        try:
            data = loads_bounded(text, max_chars=self.max_text)
        except ValueError:
            data = None
        if isinstance(data, dict) and set(data) == {"type"}:
            for command in ClientCommand:
                if data["type"] == command:
                    return command
        raise InvalidRequest(
            "A text message must be a JSON object with the only field `type`:"
            " finalize, keepalive or close. Send audio in binary messages.",
            code="message_invalid",
        )

    def closing(self, reason: CloseReason) -> tuple[int, str]:
        """Return the code of the close reason."""
        return reason.code, reason.error_code or reason.reason


_WORD = ("word", "punctuated_word", "start", "end", "confidence", "speaker", "language")


def build_transcript(message: dict[str, Any], *, channel: int) -> dict[str, Any]:
    """Return the fields of a `transcript` message from an aligned result."""
    (alternative, *_) = message["channel"]["alternatives"]
    start = float(message["start"])  # validated by ``SessionClock.align``
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
