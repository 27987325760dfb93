"""Real live recognition: a process for each channel, which never holds up the loop.

Each process has a model of its own in memory (110 MB), so streams are few. One that is
ready waits for the next stream, since loading takes a second or two.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from workers.emulator.engines import recogniser, sphinx
from workers.emulator.engines.live import base as live_engines_base
from workers.emulator.engines.live import events, sphinx_child

MOST_STREAMS = 4

# So long after a start or a stream the next process is made ready.
_SPARE_SECONDS = 3.0
_ROOT = Path(__file__).parents[4]
# A segment of many words is one line.
_LINE_BYTES = 1024 * 1024


class SphinxAudience:
    """Start processes, one ahead of need."""

    most_streams: int | None = MOST_STREAMS

    def __init__(self) -> None:
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._taken: set[asyncio.subprocess.Process] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Load a model in a moment; nobody waits for it."""
        self.refill()

    def open_ear(self, stream: live_engines_base.Stream) -> "SphinxEar":
        """Return an ear; its processes start with the first samples."""
        return SphinxEar(stream, self)

    async def close(self) -> None:
        """End every process: the one that waits, and those of streams cut short."""
        if self._timer is not None:
            self._timer.cancel()
        if self._spare is not None:
            await _kill(await self._spare)
        for process in list(self._taken):
            await self.end_process(process)

    async def take_process(self) -> asyncio.subprocess.Process:
        """Return the one that waits, or a new one."""
        spare, self._spare = self._spare, None
        process = await (spare or _start_process())
        self._taken.add(process)
        return process

    async def end_process(self, process: asyncio.subprocess.Process) -> None:
        """End a process that was taken; harmless when repeated."""
        await _kill(process)
        self._taken.discard(process)

    def refill(self) -> None:
        """Let one wait, once what goes on now has had its time."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SPARE_SECONDS, self._start_spare)

    def _start_spare(self) -> None:
        if self._spare is None:
            self._spare = asyncio.create_task(_start_process())


class SphinxEar:
    """Pass the samples on, and what comes back."""

    def __init__(
        self, stream: live_engines_base.Stream, audience: SphinxAudience
    ) -> None:
        channels = range(stream.channels) if stream.is_multichannel else [None]
        self._audience = audience
        self._children = [Child(stream, channel, audience) for channel in channels]

    async def hear(self, samples: bytes) -> None:
        """Pass samples on, as fast as the children take them."""
        for child in self._children:
            await child.send(sphinx_child.AUDIO, samples)

    async def finalize(self, channel: int | None) -> None:
        """Ask for what is known of the segments under way."""
        for number, child in enumerate(self._children):
            if channel in {None, number}:
                await child.send(sphinx_child.FINALIZE)

    async def finish(self) -> None:
        """Return when everything is heard and said."""
        for child in self._children:
            await child.send(sphinx_child.END)
        for child in self._children:
            await child.wait()

    async def close(self) -> None:
        """End the processes at once."""
        for child in self._children:
            await child.close()
        self._audience.refill()


class Child:
    """One process that listens to one channel."""

    def __init__(
        self,
        stream: live_engines_base.Stream,
        channel: int | None,
        audience: SphinxAudience,
    ) -> None:
        self._stream = stream
        self._number = channel or 0
        self._task = _describe(stream, channel)
        self._audience = audience
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_ending = False

    async def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Give the process a frame; the first one begins its work."""
        if self._process is None:
            self._process = await self._audience.take_process()
            self._reader = asyncio.create_task(self._read(self._process))
            await self.send(sphinx_child.TASK, self._task)
        self._is_ending = kind == sphinx_child.END
        stdin = self._process.stdin
        if stdin is not None:
            # One that died is noticed where its words are read.
            with contextlib.suppress(ConnectionError):
                stdin.write(sphinx_child.HEAD.pack(kind, len(payload)) + payload)
                await stdin.drain()

    async def wait(self) -> None:
        """Return when the process has said its last."""
        if self._reader is not None:
            await self._reader

    async def close(self) -> None:
        """End the process; harmless when repeated."""
        if self._reader is not None:
            self._reader.cancel()
        if self._process is not None:
            await self._audience.end_process(self._process)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                self._stream.say(_parse(json.loads(line), self._number))
        if await process.wait() or not self._is_ending:
            self._stream.fail()


def build() -> SphinxAudience:
    """Return the ears of this engine."""
    return SphinxAudience()


async def _start_process() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", sphinx_child.__name__, str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
        cwd=_ROOT,
    )


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _describe(stream: live_engines_base.Stream, channel: int | None) -> bytes:
    task = sphinx_child.Task(
        sample_rate=stream.sample_rate,
        channels=stream.channels,
        channel=channel,
        **dataclasses.asdict(stream.manner),
    )
    return json.dumps(dataclasses.asdict(task)).encode()


def _parse(line: dict[str, Any], channel: int) -> events.Event:
    match line.pop("kind"):
        case "started":
            return events.SpeechStarted(channel=channel, **line)
        case "ended":
            return events.UtteranceEnd(channel=channel, **line)
    words = sphinx.punctuate(recogniser.Heard(**word) for word in line.pop("words"))
    if words and not line["speech_final"]:
        # The sentence goes on, as far as anybody knows.
        last = words[-1]
        last = dataclasses.replace(last, written=last.written.removesuffix("."))
        words = (*words[:-1], last)
    return events.Heard(channel=channel, words=words, **line)
