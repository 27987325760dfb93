"""Live calls to the emulator, with a plain client that shows everything."""

import json
from dataclasses import dataclass, field
from typing import Any

import websockets
from websockets.sync.client import ClientConnection, connect

CLOSE = '{"type":"CloseStream"}'
# What Deepgram needs to be told of the samples that tests send.
RAW = "encoding=linear16&sample_rate=16000"


@dataclass
class DeepgramStream:
    """What a stream said, and how it was closed."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    code: int | None = None
    reason: str = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.messages if each["type"] == kind]

    @property
    def finals(self) -> list[dict[str, Any]]:
        return [each for each in self.of("Results") if each["is_final"]]

    def words(self, channel: int = 0, *, ahead: float = 0.0) -> list[tuple[Any, ...]]:
        """Return text, start and end of every final word, in milliseconds."""
        return [
            (
                word["word"],
                round((ahead + word["start"]) * 1000),
                round((ahead + word["end"]) * 1000),
            )
            for final in self.finals
            if final["channel_index"][0] == channel
            for word in final["channel"]["alternatives"][0]["words"]
        ]


def dial(url: str, query: str = RAW, *, key: str = "k", **headers: str) -> Any:
    """Return an open connection."""
    return connect(
        f"{url.replace('http', 'ws')}/v1/listen?{query}",
        additional_headers={"Authorization": f"Token {key}", **headers},
        compression=None,
        proxy=None,
    )


def read(
    socket: ClientConnection, talk: DeepgramStream, *, until: str = ""
) -> DeepgramStream:
    """Read until a message of this type, or until the stream is closed."""
    try:
        for text in socket:
            talk.messages.append(json.loads(text))
            if talk.messages[-1]["type"] == until:
                return talk
    except websockets.ConnectionClosed:
        pass
    talk.code, talk.reason = socket.close_code, socket.close_reason or ""
    return talk


def converse(
    url: str, audio: bytes, query: str = RAW, *, chunk: int = 3200
) -> DeepgramStream:
    """Send it all, close the stream, and return what was said."""
    with dial(url, query) as socket:
        for at in range(0, len(audio), chunk):
            socket.send(audio[at : at + chunk])
        socket.send(CLOSE)
        return read(socket, DeepgramStream())


def truth(words: Any) -> list[tuple[Any, ...]]:
    """Return what `DeepgramStream.words` gives, from the emulator's own words."""
    return [(w.text, round(w.start * 1000), round(w.end * 1000)) for w in words]
