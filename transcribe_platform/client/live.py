"""Transcribe while it is said: a socket for audio, and messages as they come back.

One thread sends, another one reads; both may be the same if little is sent.
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
from transcribe_platform.client.transport import USER_AGENT, Transport, error_of

_OPEN_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
_LARGEST_MESSAGE = 16 * 1024**2


class LiveMessage(TypedDict):
    """What the platform says; which fields there are depends on the type."""

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
    """``client.listen(…)``: iterate over it for messages until the session ends."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.close_code: int | None = None
        self.close_reason = ""

    def __enter__(self) -> "LiveSession":
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def __iter__(self) -> Iterator[LiveMessage]:
        """Yield messages; afterwards ``close_code`` says how it ended."""
        try:
            for text in self._socket:
                yield cast("LiveMessage", json.loads(text))
        except ConnectionClosed:
            pass
        self.close_code = self._socket.close_code
        self.close_reason = self._socket.close_reason or ""

    def send(self, audio: bytes) -> bool:
        """Send audio, a tenth of a second or so at once; false once it has ended."""
        return self._say(audio)

    def finalize(self) -> bool:
        """Have all that was sent so far told as final."""
        return self._say(json.dumps({"type": "finalize"}))

    def keep_alive(self) -> bool:
        """Say that there will be more audio, while there is none."""
        return self._say(json.dumps({"type": "keepalive"}))

    def finish(self) -> bool:
        """Say that there is no more audio; the last messages follow."""
        return self._say(json.dumps({"type": "close"}))

    def _say(self, message: bytes | str) -> bool:
        try:
            self._socket.send(message)
        except ConnectionClosed:
            return False
        return True


def open_session(transport: Transport, options: Mapping[str, Any]) -> LiveSession:
    """Open a session; raises ApiError, Unreachable or NotThePlatform."""
    query = urlencode({name: _text(v) for name, v in options.items()}, doseq=True)
    address = f"{transport.url.replace('http', 'ws', 1)}/v1/live?{query}"
    try:
        socket = connect(
            address,
            additional_headers={"Authorization": f"Bearer {transport.api_key}"},
            user_agent_header=USER_AGENT,
            open_timeout=_OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            max_size=_LARGEST_MESSAGE,
            compression=None,  # audio does not shrink
        )
    except InvalidStatus as error:
        refusal = httpx.Response(
            error.response.status_code,
            headers=list(error.response.headers.raw_items()),
            content=bytes(error.response.body or b""),
        )
        raise error_of(transport.url, refusal) from error
    except InvalidHandshake as error:
        message = f"{transport.url} opens no socket: {error}"
        raise NotThePlatform(message) from error
    except OSError as error:
        message = f"{transport.url} cannot be reached: {error}"
        raise Unreachable(message) from error
    return LiveSession(socket)


def _text(value: Any) -> Any:
    """Return an option as a query string has it; lists stay lists of them."""
    if isinstance(value, bool):
        return str(value).lower()
    return [_text(each) for each in value] if isinstance(value, list) else value
