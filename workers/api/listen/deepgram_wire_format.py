"""Deepgram's live messages for a session of ours: its words, its close codes. Pure.

The upstream's own messages are passed on, their times on the session's clock and under
one request id, the job's, whichever call they came by. What Deepgram has no word for
(our warnings) is not told. https://developers.deepgram.com/docs/live-streaming-audio
"""

import json
from typing import Any

from jobs.bounded_json import loads_bounded
from workers.api.live.wire_format import (
    ClientCommand,
    CloseReason,
    MessageKind,
    ServerMessage,
)

IDLE_REASON = (
    "Deepgram did not receive audio data or a text message within the timeout window."
    " See https://dpgr.am/net0001"
)
NO_AUDIO_REASON = "No audio came for too long. See https://dpgr.am/net0001"
UNDECODABLE_REASON = (
    "DATA-0000: The payload cannot be decoded as audio."
    " It is either not audio data or is a codec unsupported by Deepgram."
)
_NORMAL, _GOING_AWAY, _POLICY, _TOO_LARGE, _INTERNAL, _LATER = (
    *(1000, 1001, 1008, 1009),
    *(1011, 1013),
)
# By the reason of an end; any other is the server's trouble.
_CLOSINGS: dict[str, tuple[int, str]] = {
    "client_closed": (_NORMAL, ""),
    "client_gone": (_NORMAL, ""),
    "canceled": (_NORMAL, "The job was canceled."),
    "shutdown": (_GOING_AWAY, "The server is going away."),
    "idle": (_INTERNAL, IDLE_REASON),
    "no_audio": (_INTERNAL, NO_AUDIO_REASON),
    "frame_too_large": (_TOO_LARGE, ""),
    "flood": (_POLICY, ""),
    "slow_reader": (_POLICY, ""),
    "max_duration": (_POLICY, ""),
    "unavailable": (_LATER, ""),
}
_COMMANDS = {
    "KeepAlive": ClientCommand.KEEPALIVE,
    "Finalize": ClientCommand.FINALIZE,
    "CloseStream": ClientCommand.CLOSE,
}
_CONFIGURE = "Configure"
# Ends that Deepgram tells by the close code alone.
_UNTOLD = {"stream_idle", "stream_without_audio", "audio_unreadable"}
_MAX_ECHO = 4096
# Room for a Configure with a hundred long key terms.
MAX_TEXT = 64 * 1024


class DeepgramWireFormat:
    """The messages of ``/v1/listen``; one object a session."""

    # Nothing at all, sent as audio, ends a stream there.
    empty: ClientCommand | None = ClientCommand.CLOSE
    max_text = MAX_TEXT

    def __init__(self, *, created: str) -> None:
        self._created = created
        self._request_id = ""
        self._channels = 1
        self._models: dict[str, Any] = {}

    def encode(self, told: ServerMessage) -> str | None:
        """Return the message as Deepgram has it; None for what it has no word for."""
        match told.kind:
            case MessageKind.READY:
                self._request_id = str(told.fields["job_id"])
                return None
            case MessageKind.CLOSED:
                return _dump(self._metadata(told))
            case MessageKind.ERROR:
                return _dump(_error(told.fields))
            case MessageKind.WARNING:
                return _dump(told.upstream) if told.upstream else None
        if told.upstream is None:
            return None
        return _dump(self._rename(told.upstream))

    def parse(self, text: str) -> ClientCommand | ServerMessage | None:
        """Return what a client says, or what it is answered; nothing ends for it."""
        try:
            said = loads_bounded(text, max_chars=self.max_text)
        except ValueError as error:
            return _schema_error(text, f"JSON error: {error}")
        kind = said.get("type") if isinstance(said, dict) else None
        if kind == _CONFIGURE:
            return self._refuse_configure()
        if not isinstance(kind, str) or kind not in _COMMANDS:
            names = ", ".join(f"`{name}`" for name in [*_COMMANDS, _CONFIGURE])
            wrong = f"unknown variant `{str(kind)[:100]}`, expected one of {names}"
            return _schema_error(text, wrong)
        return _COMMANDS[kind]

    def closing(self, end: CloseReason) -> tuple[int, str]:
        """Return Deepgram's close code and reason."""
        if end.reason in _CLOSINGS:
            code, reason = _CLOSINGS[end.reason]
            return code, reason or end.detail
        if end.error_code == "audio_unreadable":
            return _POLICY, UNDECODABLE_REASON
        is_theirs = 4400 <= end.code < 4500  # noqa: PLR2004
        return (_POLICY if is_theirs else _INTERNAL), end.detail

    def _rename(self, message: dict[str, Any]) -> dict[str, Any]:
        """Put the request id that the client was given in the place of a call's."""
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

    def _metadata(self, told: ServerMessage) -> dict[str, Any]:
        """Return the last message of a stream."""
        models = {"models": list(self._models), "model_info": self._models}
        return {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self._request_id,
            "sha256": "incomplete",
            "created": self._created,
            "duration": told.fields["audio_seconds"],
            "channels": self._channels,
            **(models if self._models else {}),
        }

    def _refuse_configure(self) -> ServerMessage:
        return _answer(
            {
                "type": "ConfigureFailure",
                "request_id": self._request_id,
                "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
                "description": "A stream keeps the options it was opened with.",
            }
        )


def _schema_error(text: str, wrong: str) -> ServerMessage:
    return _answer(
        {
            "type": "Error",
            "variant": "SchemaError",
            "description": f"Could not deserialize last text message: {wrong}",
            "message": text[:_MAX_ECHO],
        }
    )


def _answer(message: dict[str, Any]) -> ServerMessage:
    return ServerMessage(kind=MessageKind.WARNING, fields={}, upstream=message)


def _error(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return an error that ends the stream, where its close code does not say it."""
    if fields["code"] in _UNTOLD:
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
