"""Containers streamed piece by piece: a thread with PyAV reads from a pipe in memory.

What a browser's MediaRecorder sends is one of them. The thread blocks while nothing
comes; the loop never does.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable

import av
import av.error

from workers.emulator import audio
from workers.emulator.live import decoding

# So many bytes may wait for the thread before the client has to.
MOST_WAITING_BYTES = 4 * 1024 * 1024
# So many pieces of sound may wait for the engine before the thread has to.
_MOST_WAITING_PIECES = 256
# Long enough to know every format by its beginning.
_HEAD_BYTES = 12
_BAD_PACKETS_BORNE = 50
# A stream cannot wait until FFmpeg has looked at five seconds of it.
_OPEN_OPTIONS = {
    **audio.OPEN_OPTIONS,
    "probesize": "32",
    "analyzeduration": "0",
}
_BEGINNINGS = (
    (b"RIFF", "wav"),
    (b"RF64", "wav"),
    (b"OggS", "ogg"),
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"fLaC", "flac"),
    (b"ID3", "mp3"),
    (b"#!AMR", "amr"),
    (b"FORM", "aiff"),
    (b"caff", "caf"),
    (b".snd", "au"),
)
_END = None


class ContainerDecoder:
    """Decode whatever begins like audio."""

    def __init__(
        self,
        sink: decoding.Sink,
        on_failure: Callable[[], None],
        *,
        head: bytes = b"",
    ) -> None:
        self._sink = sink
        self._on_failure = on_failure
        self._missing = head  # what a client may leave out, though the format needs it
        self._head = b""
        self._pipe = _Pipe()
        self._loop = asyncio.get_running_loop()
        self._decoded: asyncio.Queue[decoding.Sound | Exception | None]
        self._decoded = asyncio.Queue()
        self._room = threading.Semaphore(_MOST_WAITING_PIECES)
        self._is_closed = False
        self._pump: asyncio.Task[None] | None = None

    async def feed(self, payload: bytes) -> None:
        """Give the thread more; wait when it has too much already."""
        if self._pump is None:
            self._head += payload
            if len(self._head) < _HEAD_BYTES:
                return
            if not self._head.startswith(self._missing):
                self._head = self._missing + self._head
            payload = self._head
            self._start()
        if self._pump is not None and self._pump.done():
            self._pump.result()
        self._pipe.write(payload)
        while self._pipe.waiting > MOST_WAITING_BYTES:  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(0.01)

    async def finish(self) -> None:
        """Wait until all of it is decoded and handed on."""
        if self._pump is None:
            if self._head:
                raise decoding.Undecodable
            return
        self._pipe.end()
        await self._pump

    async def close(self) -> None:
        """End thread and task."""
        self._is_closed = True
        self._pipe.end()
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError, decoding.Undecodable):
                await self._pump

    def _start(self) -> None:
        name = sniff(self._head)
        if name is None:
            raise decoding.Undecodable
        threading.Thread(
            target=self._decode, args=(name,), name="decode", daemon=True
        ).start()
        self._pump = self._loop.create_task(self._hand_on())

    async def _hand_on(self) -> None:
        while (decoded := await self._decoded.get()) is not _END:
            if isinstance(decoded, Exception):
                self._on_failure()
                raise decoded
            await self._sink(decoded)
            self._room.release()

    def _decode(self, name: str) -> None:
        """Run in the thread until the pipe ends."""
        last: Exception | None = None
        try:
            with av.open(
                self._pipe, mode="r", format=name, options=_OPEN_OPTIONS
            ) as container:
                self._walk(container)
        except (av.error.FFmpegError, ValueError, IndexError, decoding.Undecodable):
            last = decoding.Undecodable()
        self._pipe.end()
        self._tell(last)

    def _walk(self, container: av.container.InputContainer) -> None:
        track = container.streams.audio[0]
        resampler = av.AudioResampler("s16")
        failures = 0
        is_proven = False
        for packet in container.demux(track):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                failures += 1
                if not is_proven and failures > _BAD_PACKETS_BORNE:
                    raise decoding.Undecodable from None
                continue
            for frame in frames:
                is_proven = True
                for piece in resampler.resample(frame):
                    self._wait_for_room()
                    self._tell(to_sound(piece))
        if not is_proven:
            raise decoding.Undecodable

    def _wait_for_room(self) -> None:
        """Decode no further ahead than the engine listens."""
        while not self._room.acquire(timeout=1):
            if self._is_closed:
                raise decoding.Undecodable

    def _tell(self, decoded: decoding.Sound | Exception | None) -> None:
        # The loop may be gone when the process ends.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._decoded.put_nowait, decoded)


class _Pipe:
    """Bytes from the loop to the thread. FFmpeg reads it as a file without an end."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._is_ended = False
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Return how many bytes nobody has read yet; none after the end."""
        return 0 if self._is_ended else len(self._bytes)

    def write(self, payload: bytes) -> None:
        """Add bytes."""
        with self._changed:
            if not self._is_ended:
                self._bytes += payload
            self._changed.notify()

    def end(self) -> None:
        """Let readers come to an end after what is there."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    def read(self, size: int) -> bytes:
        """Return at most so many bytes; nothing means the end."""
        with self._changed:
            while not (self._bytes or self._is_ended):
                self._changed.wait()
            taken = bytes(self._bytes[:size])
            del self._bytes[:size]
            return taken


def sniff(head: bytes) -> str | None:
    """Return FFmpeg's name of the format that begins so; None for no audio."""
    for beginning, name in _BEGINNINGS:
        if head.startswith(beginning):
            return name
    if head[4:8] == b"ftyp":
        return "mov"
    if head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # noqa: PLR2004 - a frame's sync
        return "mp3" if head[1] & 0x06 else "aac"
    return None


def to_sound(frame: av.AudioFrame) -> decoding.Sound:
    """Return the samples of a frame that is in the form all sound here has."""
    channels = len(frame.layout.channels)
    length = frame.samples * channels * 2
    return decoding.Sound(bytes(frame.planes[0])[:length], frame.sample_rate, channels)
