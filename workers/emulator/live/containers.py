"""Decodes live audio that arrives in a container format, such as WebM or Ogg.

Browsers' MediaRecorder sends such streams. A thread decodes, because FFmpeg blocks
while it waits for data.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable

import av
import av.error

from workers.emulator import audio
from workers.emulator.live import decoding

# The client is not read while more bytes than this wait for the thread.
MAX_WAITING_BYTES = 4 * 1024 * 1024
# The thread waits while more PCM chunks than this wait for the engine.
_MAX_WAITING_CHUNKS = 256
# Enough to detect every format.
_HEAD_BYTES = 12
# By default FFmpeg analyzes five seconds of a stream before it decodes.
_OPEN_OPTIONS = {
    **audio.OPEN_OPTIONS,
    "probesize": "32",
    "analyzeduration": "0",
}
_SIGNATURES = (
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
    """Decodes every container format with a known signature."""

    def __init__(
        self,
        sink: decoding.PcmSink,
        on_failure: Callable[[], None],
        *,
        head: bytes = b"",
    ) -> None:
        self._sink = sink
        self._on_failure = on_failure
        self._missing = head  # the file header that clients omit
        self._head = b""
        self._pipe = _Pipe()
        self._loop = asyncio.get_running_loop()
        self._decoded: asyncio.Queue[decoding.PcmChunk | Exception | None]
        self._decoded = asyncio.Queue()
        self._room = threading.Semaphore(_MAX_WAITING_CHUNKS)
        self._is_closed = False
        self._pump: asyncio.Task[None] | None = None

    async def feed(self, payload: bytes) -> None:
        """Pass bytes to the thread; wait while too many are queued."""
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
        while self._pipe.waiting > MAX_WAITING_BYTES:  # noqa: ASYNC110 - filled by a thread
            await asyncio.sleep(0.01)

    async def finish(self) -> None:
        """Wait until all audio is decoded and passed to the sink."""
        if self._pump is None:
            if self._head:
                raise decoding.Undecodable
            return
        self._pipe.end()
        await self._pump

    async def close(self) -> None:
        """End the thread and the task."""
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
        self._pump = self._loop.create_task(self._forward())

    async def _forward(self) -> None:
        while (decoded := await self._decoded.get()) is not _END:
            if isinstance(decoded, Exception):
                self._on_failure()
                raise decoded
            await self._sink(decoded)
            self._room.release()

    def _decode(self, name: str) -> None:
        """Thread: decode until the pipe ends."""
        failure: Exception | None = None
        try:
            with av.open(
                self._pipe, mode="r", format=name, options=_OPEN_OPTIONS
            ) as container:
                self._decode_packets(container)
        except (av.error.FFmpegError, ValueError, IndexError, decoding.Undecodable):
            failure = decoding.Undecodable()
        self._pipe.end()
        self._put_decoded(failure)

    def _decode_packets(self, container: av.container.InputContainer) -> None:
        track = container.streams.audio[0]
        resampler = av.AudioResampler("s16")
        failures = 0
        has_decoded = False
        for packet in container.demux(track):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                failures += 1
                if not has_decoded and failures > decoding.MAX_BAD_PACKETS:
                    raise decoding.Undecodable from None
                continue
            for frame in frames:
                has_decoded = True
                for resampled in resampler.resample(frame):
                    self._wait_for_room()
                    self._put_decoded(decoding.to_pcm(resampled))
        if not has_decoded:
            raise decoding.Undecodable

    def _wait_for_room(self) -> None:
        """Block while too many chunks wait for the engine."""
        while not self._room.acquire(timeout=1):
            if self._is_closed:
                raise decoding.Undecodable

    def _put_decoded(self, decoded: decoding.PcmChunk | Exception | None) -> None:
        # The event loop is closed when the process ends.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._decoded.put_nowait, decoded)


class _Pipe:
    """Passes bytes from the event loop to the thread, as a file for FFmpeg."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._is_ended = False
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Return the number of unread bytes, 0 after the end."""
        return 0 if self._is_ended else len(self._bytes)

    def write(self, payload: bytes) -> None:
        """Append bytes."""
        with self._changed:
            if not self._is_ended:
                self._bytes += payload
            self._changed.notify()

    def end(self) -> None:
        """Mark the end: reads return nothing after the remaining bytes."""
        with self._changed:
            self._is_ended = True
            self._changed.notify()

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; empty at the end."""
        with self._changed:
            while not (self._bytes or self._is_ended):
                self._changed.wait()
            chunk = bytes(self._bytes[:size])
            del self._bytes[:size]
            return chunk


def sniff(head: bytes) -> str | None:
    """Return FFmpeg's name of the format, or None if it is unknown."""
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[4:8] == b"ftyp":
        return "mov"
    if head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # noqa: PLR2004 - a frame's sync
        return "mp3" if head[1] & 0x06 else "aac"
    return None
