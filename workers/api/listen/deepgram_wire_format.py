"""Deepgram's format of live messages, with its close codes. Pure.

Deepgram's messages are forwarded with times on the session's clock and with the job's
ID as the request ID, across reconnects. Warnings have no counterpart and are omitted.
https://developers.deepgram.com/docs/live-streaming-audio
"""

import json
from typing import Any

from jobs.parsing.bounded_json import loads_bounded
from workers.api.listen.configure import parse_configure
from workers.api.listen.deepgram_errors import TABLES
from workers.api.live.wire_format import (
    ClientCommand,
    CloseReason,
    MessageKind,
    ParsedText,
    ServerMessage,
)

_POLICY, _INTERNAL = 1008, 1011
_COMMANDS = {
    "KeepAlive": ClientCommand.KEEPALIVE,
    "Finalize": ClientCommand.FINALIZE,
    "CloseStream": ClientCommand.CLOSE,
}
_CONFIGURE = "Configure"
# Errors that Deepgram reports only by the close code.
_CLOSE_CODE_ONLY = {"stream_idle", "stream_without_audio", "audio_unreadable"}
_MAX_ECHO = 4096
# Room for a Configure with a hundred long key terms.
MAX_TEXT = 64 * 1024


class DeepgramWireFormat:
    """The messages of ``/v1/listen``; one object per session."""

    # An empty audio message ends the stream.
    empty: ClientCommand | None = ClientCommand.CLOSE
    max_text = MAX_TEXT

    def __init__(self, *, created: str) -> None:
        self._created = created
        self._request_id = ""
        self._channels = 1
        self._models: dict[str, Any] = {}

    def encode(self, message: ServerMessage) -> str | None:
        """Return the message in Deepgram's format; None without a counterpart."""
        match message.kind:
            case MessageKind.READY:
                self._request_id = str(message.fields["job_id"])
                return None
            case MessageKind.CLOSED:
                return _dump(self._metadata(message))
            case MessageKind.ERROR:
                return _dump(_error(message.fields))
            case MessageKind.WARNING:
                return _dump(message.upstream)
            case MessageKind.CONFIGURED:
                renamed = {"request_id": self._request_id}
                return _dump({**(message.upstream or {}), **renamed})
        return _dump(self._rename(message.upstream or {}) or None)

    def parse(self, text: str) -> ParsedText:
        """Return the command, or an error message to send; never raises."""
        try:
            data = loads_bounded(text, max_chars=self.max_text)
        except ValueError as error:
            return _schema_error(text, f"JSON error: {error}")
        kind = data.get("type") if isinstance(data, dict) else None
        if kind == _CONFIGURE:
            return parse_configure(data)
        if not isinstance(kind, str) or kind not in _COMMANDS:
            names = ", ".join(f"`{name}`" for name in [*_COMMANDS, _CONFIGURE])
            description = (
                f"unknown variant `{str(kind)[:100]}`, expected one of {names}"
            )
            return _schema_error(text, description)
        return _COMMANDS[kind]

    def closing(self, reason: CloseReason) -> tuple[int, str]:
        """Return Deepgram's close code and reason text."""
        return choose_close_code(reason)

    def _rename(self, message: dict[str, Any]) -> dict[str, Any]:
        """Replace the call's request ID by the session's."""
        index = message.get("channel_index")
        if isinstance(index, list) and len(index) > 1:
            self._channels = max(self._channels, int(index[1]))
        metadata = message.get("metadata")
        if not isinstance(metadata, dict):
            return message
        if metadata.get("model_uuid"):
            found = metadata.get("model_info")
            self._models[str(metadata["model_uuid"])] = found
        return {**message, "metadata": {**metadata, "request_id": self._request_id}}

    def _metadata(self, message: ServerMessage) -> dict[str, Any]:
        """Return the last message of a stream."""
        models = {"models": list(self._models), "model_info": self._models}
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self._request_id,
            "sha256": "incomplete",
            "created": self._created,
            "duration": message.fields["audio_seconds"],
            "channels": self._channels,
            **(models if self._models else {}),
        }


def choose_close_code(reason: CloseReason) -> tuple[int, str]:
    """Return Deepgram's close code and reason text."""
    closings = TABLES["closings"]
    found = closings.get(reason.reason) or closings.get(reason.error_code)
    if found:
        code, text = found
        return code, text or reason.detail
    is_client_error = 4400 <= reason.code < 4500  # noqa: PLR2004
    return (_POLICY if is_client_error else _INTERNAL), reason.detail


def _schema_error(text: str, error: str) -> ServerMessage:
    return _build_reply(
        {
            "type": "Error",
            "variant": "SchemaError",
            "description": f"Could not deserialize last text message: {error}",
            "message": text[:_MAX_ECHO],
        }
    )


def _build_reply(message: dict[str, Any]) -> ServerMessage:
    return ServerMessage(MessageKind.WARNING, {}, upstream=message)


def _error(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return the error that ends a stream; None if the close code reports it."""
    if fields["code"] in _CLOSE_CODE_ONLY:
        return None
    return {
        "type": "Error",
        "variant": str(fields["code"]),
        "description": str(fields["detail"]),
    }


def _dump(message: dict[str, Any] | None) -> str | None:
    if message is None:
        return None
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)
