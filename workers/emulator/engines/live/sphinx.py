"""Live recognition with pocketsphinx, in one process per channel.

Each process loads the model (110 MB), which limits the number of streams. One process
is started in advance, since loading takes one to two seconds.
"""

import asyncio
import contextlib
import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from workers.emulator.engines import sphinx
from workers.emulator.engines.live import base, sphinx_child

MAX_STREAMS = 4

# Delay before the next spare process is started.
_SPARE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Child:
    """A recognition process and the connection to it."""

    process: BaseProcess
    connection: Connection

    def kill(self) -> None:
        """End the process; idempotent."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class SphinxPool:
    """Starts recognition processes, one in advance."""

    max_streams: int | None = MAX_STREAMS

    def __init__(self) -> None:
        self._spare: Child | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Schedule the first spare process."""
        self.schedule_spare()

    def open_session(self, stream: base.Stream) -> "SphinxSession":
        """Return a recognizer; its processes start with the first samples."""
        return SphinxSession(stream, self)

    async def close(self) -> None:
        """End all processes, the spare one included."""
        if self._timer is not None:
            self._timer.cancel()
        for process in multiprocessing.active_children():
            if process.name == sphinx.LIVE_NAME:
                process.kill()

    def acquire_child(self) -> Child:
        """Return the spare process, or a new one."""
        spare, self._spare = self._spare, None
        if spare is not None:
            if spare.process.is_alive():
                return spare
            spare.kill()
        return _start_child()

    def schedule_spare(self) -> None:
        """Schedule the start of a spare process."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_SPARE_SECONDS, self._start_spare)

    def _start_spare(self) -> None:
        if self._spare is None:
            self._spare = _start_child()


class SphinxSession:
    """Recognizes one stream in one process per channel."""

    def __init__(self, stream: base.Stream, recognizer_pool: SphinxPool) -> None:
        channels = range(stream.channels) if stream.is_multichannel else [None]
        self._pool = recognizer_pool
        self._children = [
            ChannelProcess(stream, channel, recognizer_pool) for channel in channels
        ]

    async def recognize(self, samples: bytes) -> None:
        """Send samples to the processes; waits for slow ones."""
        for child in self._children:
            await child.send(samples)

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
        self, stream: base.Stream, channel: int | None, recognizer_pool: SphinxPool
    ) -> None:
        self._stream = stream
        self._task = sphinx_child.Task(
            sample_rate=stream.sample_rate,
            channels=stream.channels,
            channel=channel,
            event_settings=stream.event_settings,
        )
        self._pool = recognizer_pool
        self._child: Child | None = None
        self._ended = asyncio.Event()

    async def send(self, message: object) -> None:
        """Send a message; acquires the process first. Waits for a slow process."""
        if self._child is None:
            self._child = self._pool.acquire_child()
            loop = asyncio.get_running_loop()
            loop.add_reader(self._child.connection, self._receive, self._child)
            await self.send(self._task)
        # `_receive` detects that the process died.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._child.connection.send, message)

    async def wait(self) -> None:
        """Wait until the process has ended its output."""
        if self._child is not None:
            await self._ended.wait()

    async def close(self) -> None:
        """End the process; idempotent."""
        if self._child is not None:
            self._end(self._child)
            self._child.kill()

    def _receive(self, child: Child) -> None:
        """Emit the next event; called when there is one, or at the end."""
        try:
            message = child.connection.recv()
        except (EOFError, OSError):
            self._stream.on_failure()
            self._end(child)
            return
        if message == sphinx_child.DONE:
            self._end(child)
        else:
            self._stream.emit(message)

    def _end(self, child: Child) -> None:
        if not self._ended.is_set():
            asyncio.get_running_loop().remove_reader(child.connection)
            self._ended.set()


def build() -> SphinxPool:
    """Return the recognizer pool of this engine."""
    return SphinxPool()


def _start_child() -> Child:
    spawn = multiprocessing.get_context("spawn")
    own, theirs = spawn.Pipe()
    process = spawn.Process(
        target=sphinx_child.serve,
        args=(os.getpid(), theirs),
        name=sphinx.LIVE_NAME,
        daemon=True,
    )
    process.start()
    theirs.close()
    return Child(process, own)
