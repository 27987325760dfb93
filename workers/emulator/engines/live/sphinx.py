"""Live recognition with pocketsphinx, in one process per channel.

Each process loads the model (110 MB), which limits the number of streams. One process
is started in advance, since loading takes one to two seconds.
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
from workers.emulator.engines.live import base, events, sphinx_child

MAX_STREAMS = 4

# Delay before the next spare process is started.
_SPARE_SECONDS = 3.0
_ROOT = Path(__file__).parents[4]
# Maximum length of a line: a segment with its words.
_LINE_BYTES = 1024 * 1024


class SphinxPool:
    """Starts recognition processes, one in advance."""

    max_streams: int | None = MAX_STREAMS

    def __init__(self) -> None:
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._active: set[asyncio.subprocess.Process] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Schedule the first spare process."""
        self.schedule_spare()

    def open_session(self, stream: base.Stream) -> "SphinxSession":
        """Return a recogniser; its processes start with the first samples."""
        return SphinxSession(stream, self)

    async def close(self) -> None:
        """End all processes, the spare one included."""
        if self._timer is not None:
            self._timer.cancel()
        if self._spare is not None:
            await _kill(await self._spare)
        for process in list(self._active):
            await self.end_process(process)

    async def acquire_process(self) -> asyncio.subprocess.Process:
        """Return the spare process, or a new one."""
        spare, self._spare = self._spare, None
        process = await (spare or _start_process())
        self._active.add(process)
        return process

    async def end_process(self, process: asyncio.subprocess.Process) -> None:
        """End an acquired process; idempotent."""
        await _kill(process)
        self._active.discard(process)

    def schedule_spare(self) -> None:
        """Schedule the start of a spare process."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SPARE_SECONDS, self._start_spare)

    def _start_spare(self) -> None:
        if self._spare is None:
            self._spare = asyncio.create_task(_start_process())


class SphinxSession:
    """Recognises one stream in one process per channel."""

    def __init__(self, stream: base.Stream, recogniser_pool: SphinxPool) -> None:
        channels = range(stream.channels) if stream.is_multichannel else [None]
        self._pool = recogniser_pool
        self._children = [
            ChannelProcess(stream, channel, recogniser_pool) for channel in channels
        ]

    async def recognise(self, samples: bytes) -> None:
        """Send samples to the processes; waits for slow ones."""
        for child in self._children:
            await child.send(sphinx_child.AUDIO, samples)

    async def finalize(self, channel: int | None) -> None:
        """End the current segments of one channel, or of all."""
        for number, child in enumerate(self._children):
            if channel in {None, number}:
                await child.send(sphinx_child.FINALIZE)

    async def finish(self) -> None:
        """Wait until all events are emitted."""
        for child in self._children:
            await child.send(sphinx_child.END)
        for child in self._children:
            await child.wait()

    async def close(self) -> None:
        """Kill the processes."""
        for child in self._children:
            await child.close()
        self._pool.schedule_spare()


class ChannelProcess:
    """The recognition process of one channel."""

    def __init__(
        self,
        stream: base.Stream,
        channel: int | None,
        recogniser_pool: SphinxPool,
    ) -> None:
        self._stream = stream
        self._number = channel or 0
        self._task = _describe(stream, channel)
        self._pool = recogniser_pool
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._is_ending = False

    async def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send a frame; acquires the process first."""
        if self._process is None:
            self._process = await self._pool.acquire_process()
            self._reader = asyncio.create_task(self._read(self._process))
            await self.send(sphinx_child.TASK, self._task)
        self._is_ending = kind == sphinx_child.END
        stdin = self._process.stdin
        if stdin is not None:
            # `_read` detects that the process died.
            with contextlib.suppress(ConnectionError):
                stdin.write(sphinx_child.HEAD.pack(kind, len(payload)) + payload)
                await stdin.drain()

    async def wait(self) -> None:
        """Wait until the process has ended its output."""
        if self._reader is not None:
            await self._reader

    async def close(self) -> None:
        """End the process; idempotent."""
        if self._reader is not None:
            self._reader.cancel()
        if self._process is not None:
            await self._pool.end_process(self._process)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                self._stream.emit(_parse(json.loads(line), self._number))
        if await process.wait() or not self._is_ending:
            self._stream.on_failure()


def build() -> SphinxPool:
    """Return the recogniser pool of this engine."""
    return SphinxPool()


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


def _describe(stream: base.Stream, channel: int | None) -> bytes:
    task = sphinx_child.Task(
        sample_rate=stream.sample_rate,
        channels=stream.channels,
        channel=channel,
        **dataclasses.asdict(stream.event_settings),
    )
    return json.dumps(dataclasses.asdict(task)).encode()


def _parse(line: dict[str, Any], channel: int) -> events.Event:
    match line.pop("kind"):
        case "started":
            return events.SpeechStarted(channel=channel, **line)
        case "ended":
            return events.UtteranceEnd(channel=channel, **line)
    words = sphinx.punctuate(
        recogniser.RecognisedWord(**word) for word in line.pop("words")
    )
    if words and not line["speech_final"]:
        # The sentence may continue.
        last = words[-1]
        last = dataclasses.replace(last, written=last.written.removesuffix("."))
        words = (*words[:-1], last)
    return events.Result(channel=channel, words=words, **line)
