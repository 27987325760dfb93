"""Stream speech to a live door, or to the upstream itself, and note all that comes back."""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from transcripts.models import Transcript
from transcripts.storage import read_document
from workers.emulator.engines.live import cells

RATE = 16_000
FRAME_SECONDS = 0.1
FRAME_BYTES = int(RATE * FRAME_SECONDS) * 2
RAW = {"encoding": "linear16", "sample_rate": str(RATE), "interim_results": "true"}
END_SECONDS = 60.0

Word = tuple[str, float, float]
# Of a result: whether it is final, and from when to when.
Name = tuple[bool, float, float]


@dataclass(slots=True)
class Heard:
    """What one stream brought."""

    audio: bytes
    job_id: str = ""
    words: list[Word] = field(default_factory=list)
    # When each result came.
    results: dict[Name, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    code: int | None = None
    reason: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether it is all that was said, once."""
        return self.words == find_truth(self.audio)

    def note(self, told: dict[str, Any]) -> None:
        """Take a message, ours or the upstream's own."""
        kind = told["type"]
        if kind == "ready":
            self.job_id = told["job_id"]
        elif kind == "warning":
            self.warnings.append(told["code"])
        elif kind == "closed":
            self.reason = told["reason"]
        elif kind == "transcript" and told["text"]:
            self._note_result(told, told["start"], told["end"], told["words"])
        elif kind == "Results":
            (best,) = told["channel"]["alternatives"]
            end = told["start"] + told["duration"]
            if best["transcript"]:
                self._note_result(told, told["start"], end, best["words"])

    def _note_result(
        self, told: dict[str, Any], start: float, end: float, words: list[Any]
    ) -> None:
        name = (told["is_final"], round(start, 3), round(end, 3))
        self.results.setdefault(name, time.monotonic())
        if told["is_final"]:
            self.words += rounded((w["word"], w["start"], w["end"]) for w in words)


def find_truth(audio: bytes) -> list[Word]:
    """Return the words that lie in the audio."""
    found = cells.find_words(audio, RATE)
    return rounded((each.text, each.start, each.end) for each in found)


def read_stored(job_id: str) -> list[Word]:
    """Return the words that a session's transcript has."""
    document = read_document(Transcript.objects.get(job_id=job_id))
    (channel,) = document["results"]["channels"]
    words = channel["alternatives"][0]["words"]
    return rounded((each["word"], each["start"], each["end"]) for each in words)


def rounded(words: Iterable[Word]) -> list[Word]:
    """Return the words with their times in whole milliseconds."""
    return [(text, round(start, 3), round(end, 3)) for text, start, end in words]


def make_speech(seconds: float, seed: int = 1) -> bytes:
    """Return audio with words in it."""
    return cells.speech(seconds, seed=seed, sample_rate=RATE)


def open_socket(url: str, *, authorization: str, **query: str) -> Any:
    """Return what connects to a live door."""
    return connect(
        f"{url.replace('http', 'ws', 1)}?{urlencode({**RAW, **query})}",
        additional_headers={"Authorization": authorization},
        proxy=None,
        compression=None,
        max_size=None,
        open_timeout=30,
    )


async def listen(socket: ClientConnection, heard: Heard) -> None:
    """Note all that comes, up to the end."""
    with suppress(ConnectionClosed):
        async for text in socket:
            heard.note(json.loads(text))
    heard.code = socket.close_code


async def stream(
    sockets: Sequence[tuple[ClientConnection, Heard, str]], *, speed: float = 1.0
) -> None:
    """Send the same frames to each socket at the same time; hear them to their ends.

    With each comes the text that ends it.
    """
    listening = [asyncio.create_task(listen(each, to)) for each, to, _ in sockets]
    audio, began = sockets[0][1].audio, time.monotonic()
    for number, begin in enumerate(range(0, len(audio), FRAME_BYTES)):
        frame = audio[begin : begin + FRAME_BYTES]
        for socket, _, _ in sockets:
            await socket.send(frame)
        due = began + (number + 1) * FRAME_SECONDS / speed
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    for socket, _, last in sockets:
        await socket.send(last)
    async with asyncio.timeout(END_SECONDS):
        await asyncio.gather(*listening)


async def stream_here(
    url: str, key: str, audio: bytes, *, speed: float = 1.0, delay: float = 0.0
) -> Heard:
    """Stream to our live door."""
    await asyncio.sleep(delay)
    heard = Heard(audio)
    async with open_socket(f"{url}/v1/live", authorization=f"Bearer {key}") as socket:
        await stream([(socket, heard, '{"type":"close"}')], speed=speed)
    return heard


async def stream_paired(
    url: str, key: str, upstream: str, audio: bytes, *, delay: float = 0.0
) -> tuple[Heard, Heard]:
    """Stream the same to our door and to the upstream itself."""
    await asyncio.sleep(delay)
    ours, direct = Heard(audio), Heard(audio)
    async with (
        open_socket(f"{url}/v1/live", authorization=f"Bearer {key}") as here,
        open_socket(
            f"{upstream}/v1/listen",
            authorization="Token bench",
            model="nova-3",
            smart_format="true",
        ) as there,
    ):
        await stream(
            [
                (there, direct, '{"type":"CloseStream"}'),
                (here, ours, '{"type":"close"}'),
            ]
        )
    return ours, direct


def added_latencies(pairs: Sequence[tuple[Heard, Heard]]) -> list[float]:
    """Return, of each result that both told, how much later ours came."""
    return [
        ours.results[name] - at
        for ours, direct in pairs
        for name, at in direct.results.items()
        if name in ours.results
    ]
