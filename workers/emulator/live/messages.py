"""Reads and writes Deepgram's live messages, verbatim where documented."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.emulator.engines.live import events
from workers.emulator.protocol import options
from workers.emulator.results import documents, passages

# Maximum characters of a text message.
MAX_TEXT = 64 * 1024
Json = dict[str, Any]

IDLE_REASON = (
    "Deepgram did not receive audio data or a text message within the timeout window. "
    "See https://dpgr.am/net0001"
)
UNDECODABLE_REASON = (
    "DATA-0000: The payload cannot be decoded as audio. "
    "It is either not audio data or is a codec unsupported by Deepgram."
)
NO_TEXT_REASON = (
    "NET-0000: The service has not transmitted a Text frame to the client "
    "within the timeout window."
)
MAX_KEYTERMS = 500

CONTROLS = ("KeepAlive", "Finalize", "CloseStream", "Configure")


class SchemaError(ValueError):
    """A text frame is not a known message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlMessage:
    """A control message of the client."""

    kind: str
    channel: int | None = None
    keyterms: tuple[str, ...] | None = None
    fields: Json = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class MessageWriter:
    """Writes the messages of one stream."""

    request_id: str
    created: str
    engine: str
    shape: options.Shape
    channels: int
    is_closing: bool = False
    _model: tuple[str, Json] = field(init=False)

    def __post_init__(self) -> None:
        self._model = documents.describe_model(self.engine, self.shape)

    def open(self) -> str | None:
        """Return None: a stream begins without a message."""
        return None

    def write(self, event: events.Event) -> Iterator[str]:
        """Yield the JSON message of an event."""
        match event:
            case events.Result():
                form = self._results(event)
            case events.SpeechStarted():
                form = {
                    "type": "SpeechStarted",
                    "channel": [event.channel],
                    "timestamp": event.at,
                }
            case events.UtteranceEnd():
                form = {
                    "type": "UtteranceEnd",
                    "channel": [event.channel, self.channels],
                    "last_word_end": event.last_word_end,
                }
        yield _dump(form)

    def metadata(self, *, seconds: float) -> str | None:
        """Return the Metadata message; it omits the model when there was no audio."""
        form: Json = {
            "type": "Metadata",
            "transaction_key": "deprecated",
            "request_id": self.request_id,
            "sha256": "incomplete",
            "created": self.created,
            "duration": round(seconds, 6),
            "channels": self.channels if seconds else 0,
        }
        if seconds:
            uuid, info = self._model
            form |= {"models": [uuid], "model_info": {uuid: info}}
        return _dump(form)

    def configured(self, control: ControlMessage) -> str:
        """Return the response to `Configure`."""
        keyterms = control.keyterms
        form: Json = {"type": "ConfigureSuccess", "request_id": self.request_id}
        if keyterms is None:
            return _dump(form)
        if self.shape.family != "nova-3":
            return self._not_configured(
                "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
                "The stream's model does not support keyterm updates.",
            )
        if sum(len(term.split()) for term in keyterms) > MAX_KEYTERMS:
            return self._not_configured(
                "CONFIGURE_KEYTERM_LIMIT_EXCEEDED",
                f"The keyterms exceed the limit of {MAX_KEYTERMS} tokens.",
            )
        return _dump(form | {"keyterms": list(keyterms)})

    def _not_configured(self, code: str, description: str) -> str:
        return _dump(
            {
                "type": "ConfigureFailure",
                "request_id": self.request_id,
                "code": code,
                "description": description,
            }
        )

    def _results(self, result: events.Result) -> Json:
        uuid, info = self._model
        return {
            "type": "Results",
            "channel_index": [result.channel, self.channels],
            "duration": round(result.end - result.start, 6),
            "start": round(result.start, 6),
            "is_final": result.is_final,
            "speech_final": result.speech_final,
            "channel": {"alternatives": [self._alternative(result.words)]},
            "metadata": {
                "request_id": self.request_id,
                "model_info": info,
                "model_uuid": uuid,
            },
            "from_finalize": result.from_finalize,
        }

    def _alternative(self, words: passages.Words) -> Json:
        shape = self.shape
        alternative: Json = {
            "transcript": passages.join_text(words, is_written=shape.is_punctuated),
            "confidence": passages.mean_confidence(words),
        }
        if shape.language == "multi":
            alternative["languages"] = ["en"] if words else []
        alternative["words"] = [documents.build_word(word, shape) for word in words]
        return alternative


def schema_error(text: str, error: SchemaError) -> str:
    """Return the Error message for an invalid text frame."""
    return _dump(
        {
            "type": "Error",
            "variant": "SchemaError",
            "description": f"Could not deserialize last text message: {error}",
            "message": text[:MAX_TEXT],
        }
    )


def read_control(text: str, known: Sequence[str] = CONTROLS) -> ControlMessage:
    """Return the control message in a text frame, or raise SchemaError."""
    if len(text) > MAX_TEXT:
        raise SchemaError(f"a message has at most {MAX_TEXT} characters")
    try:
        form = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"JSON error: {error}") from error
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in known:
        names = ", ".join(f"`{name}`" for name in known)
        raise SchemaError(f"unknown variant `{kind}`, expected one of {names}")
    channel, keyterms = form.get("channel"), form.get("keyterms")
    if isinstance(channel, bool) or not isinstance(channel, int | None):
        raise SchemaError("invalid type: `channel` is a number")
    if keyterms is not None and not _is_string_list(keyterms):
        raise SchemaError("invalid type: `keyterms` is a sequence of strings")
    return ControlMessage(
        kind=str(kind),
        channel=channel,
        keyterms=None if keyterms is None else tuple(keyterms),
        fields=form,
    )


def _is_string_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _dump(form: Json) -> str:
    return json.dumps(form, separators=(",", ":"))
