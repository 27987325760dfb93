"""Live transcription: sends audio over a WebSocket and receives messages.

Send and receive in separate threads, unless the audio is short.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NotRequired, TypedDict, cast
from urllib.parse import urlencode

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from transcribe_platform.client.errors import NotThePlatform, Unreachable
from transcribe_platform.client.shapes import Word
from transcribe_platform.client.transport import USER_AGENT, Transport, build_error

_OPEN_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
_MAX_MESSAGE_BYTES = 16 * 1024**2


class LiveMessage(TypedDict):
    """A message of the platform; its fields depend on ``type``."""

    type: Literal[
        "ready",
        "transcript",
        "utterance_end",
        "speech_started",
        "warning",
        "error",
        "closed",
    ]
    job_id: NotRequired[str]
    text: NotRequired[str]
    is_final: NotRequired[bool]
    speech_final: NotRequired[bool]
    from_finalize: NotRequired[bool]
    channel: NotRequired[int]
    start: NotRequired[float]
    end: NotRequired[float]
    confidence: NotRequired[float]
    words: NotRequired[list[Word]]
    code: NotRequired[str]
    detail: NotRequired[str]
    reason: NotRequired[str]
    audio_seconds: NotRequired[float]
    status: NotRequired[str]


class LiveSession:
    """``client.listen(…)``: iterate over the session to receive its messages."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.close_code: int | None = None
        self.close_reason = ""

    def __enter__(self) -> "LiveSession":
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def __iter__(self) -> Iterator[LiveMessage]:
        """Yield messages until the session ends; then ``close_code`` is set."""
        try:
            for text in self._socket:
                yield cast("LiveMessage", json.loads(text))
        except ConnectionClosed:
            pass
        self.close_code = self._socket.close_code
        self.close_reason = self._socket.close_reason or ""

    def send(self, audio: bytes) -> bool:
        """Send audio, about 0.1 s per call; returns False after the session ended."""
        return self._send(audio)

    def finalize(self) -> bool:
        """Request final results for the audio sent so far."""
        return self._send(json.dumps({"type": "finalize"}))

    def keep_alive(self) -> bool:
        """Keep the session open while there is no audio."""
        return self._send(json.dumps({"type": "keepalive"}))

    def finish(self) -> bool:
        """End the audio; the remaining messages follow."""
        return self._send(json.dumps({"type": "close"}))

    def _send(self, message: bytes | str) -> bool:
        try:
            self._socket.send(message)
        except ConnectionClosed:
            return False
        return True


def open_session(transport: Transport, options: Mapping[str, Any]) -> LiveSession:
    """Open a session; raises ApiError, Unreachable or NotThePlatform."""
    query = urlencode({name: _text(v) for name, v in options.items()}, doseq=True)
    url = f"{transport.url.replace('http', 'ws', 1)}/v1/live?{query}"
    try:
        socket = connect(
            url,
            additional_headers={"Authorization": f"Bearer {transport.api_key}"},
            user_agent_header=USER_AGENT,
            open_timeout=_OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            max_size=_MAX_MESSAGE_BYTES,
            compression=None,  # audio is compressed already
        )
    except InvalidStatus as error:
        response = httpx.Response(
            error.response.status_code,
            headers=list(error.response.headers.raw_items()),
            content=bytes(error.response.body or b""),
        )
        raise build_error(transport.url, response) from error
    except InvalidHandshake as error:
        message = f"{transport.url} does not accept WebSocket connections: {error}"
        raise NotThePlatform(message) from error
    except OSError as error:
        message = f"{transport.url} cannot be reached: {error}"
        raise Unreachable(message) from error
    return LiveSession(socket)


def _text(value: Any) -> Any:
    """Return an option as text for the query string; lists stay lists."""
    if isinstance(value, bool):
        return str(value).lower()
    return [_text(item) for item in value] if isinstance(value, list) else value
