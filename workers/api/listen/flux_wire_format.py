"""The messages of ``/v2/listen`` (Flux), numbered across reconnects. Pure.

https://developers.deepgram.com/reference/speech-to-text/listen-flux
"""

import json
from typing import Any

from jobs.errors import InvalidRequest
from jobs.parsing.bounded_json import loads_bounded
from workers.api.listen.configure import parse_flux_configure
from workers.api.listen.deepgram_wire_format import MAX_TEXT, choose_close_code
from workers.api.live.wire_format import (
    ClientCommand,
    CloseReason,
    MessageKind,
    ParsedText,
    ServerMessage,
)

_COMMANDS = {
    "ForceEndTurn": ClientCommand.FINALIZE,
    "CloseStream": ClientCommand.CLOSE,
    # Not of Flux; other clients' libraries send it.
    "KeepAlive": ClientCommand.KEEPALIVE,
}


class FluxWireFormat:
    """The messages of one session."""

    empty: ClientCommand | None = ClientCommand.CLOSE
    max_text = MAX_TEXT

    def __init__(self) -> None:
        self._request_id = ""
        self._sequence = 0

    def encode(self, message: ServerMessage) -> str | None:
        """Return the message; None for the end, which only the close reports."""
        match message.kind:
            case MessageKind.READY:
                self._request_id = str(message.fields["job_id"])
                return self._number({"type": "Connected"})
            case MessageKind.CLOSED:
                return None
            case MessageKind.ERROR | MessageKind.WARNING:
                is_error = message.kind == MessageKind.ERROR
                fields = {
                    "type": "Error" if is_error else "Warning",
                    "code": str(message.fields["code"]).upper(),
                    "description": str(message.fields["detail"]),
                }
                return self._number(fields)
        return self._number(message.upstream or {})

    def parse(self, text: str) -> ParsedText:
        """Return the command or the change; raises InvalidRequest for another text."""
        try:
            data = loads_bounded(text, max_chars=self.max_text)
        except ValueError as error:
            raise InvalidRequest(f"JSON error: {error}", code="json_invalid") from None
        kind = data.get("type") if isinstance(data, dict) else None
        if kind == "Configure":
            return parse_flux_configure(data)
        if not isinstance(kind, str) or kind not in _COMMANDS:
            message = "Send Configure, ForceEndTurn or CloseStream."
            raise InvalidRequest(message, code="message_invalid")
        return _COMMANDS[kind]

    def closing(self, reason: CloseReason) -> tuple[int, str]:
        """Return Deepgram's close code and reason text."""
        return choose_close_code(reason)

    def _number(self, fields: dict[str, Any]) -> str:
        number, self._sequence = self._sequence, self._sequence + 1
        numbered = {"request_id": self._request_id, "sequence_id": number}
        return json.dumps({**fields, **numbered}, separators=(",", ":"))
