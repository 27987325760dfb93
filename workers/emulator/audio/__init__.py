"""The audio of one call: received in chunks, hashed and measured.

The duration is the sum of the received packets, not the value in the header or of time
stamps, so a truncated upload is visible. Deepgram measures decoded samples.
"""

import hashlib
import io
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import av.error

from workers.emulator.protocol import options, refusals

# Larger bodies are written to a file, which bounds the memory of a call.
MEMORY_BYTES = 256 * 1024
# Audio formats. Playlists (HLS, concat) are excluded: they refer to other files.
FORMATS = (
    "wav,w64,aiff,au,caf,mp3,flac,ogg,mov,mp4,m4a,matroska,webm,aac,adts,amr,"
    "amrnb,amrwb,asf,avi,flv,mpeg,mpegts,ac3,eac3,wv,ape,tta,dsf,dts,gsm,mpc,mpc8,mxf,rm,"
    "tak,voc,wtv,s16le,s32le,f32le,mulaw,alaw"
)
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
# FFmpeg format name and bytes per sample of audio without a container.
RAW_FORMATS = {
    "linear16": ("s16le", 2),
    "linear32": ("f32le", 4),
    "mulaw": ("mulaw", 1),
    "alaw": ("alaw", 1),
}

_PCM_TAGS = frozenset({1, 3, 6, 7, 0xFFFE})
# Real WAV files have about a dozen chunks; others are measured by their packets.
_MAX_CHUNKS = 1000
_UNKNOWN_LENGTH = 0xFFFFFFFF
_LAYOUT_BYTES = 40
_MAX_BAD_PACKETS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Duration in seconds and channel count of received audio."""

    duration: float
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A received body: its bytes, or the path of its temporary file."""

    sha256: str
    size_bytes: int
    content: bytes | Path

    def open(self) -> BinaryIO:
        """Return a new reader at the start of the audio."""
        if isinstance(self.content, Path):
            return self.content.open("rb")
        return io.BytesIO(self.content)

    def discard(self) -> None:
        """Delete the temporary file; idempotent."""
        if isinstance(self.content, Path):
            self.content.unlink(missing_ok=True)


class Spool:
    """Buffers a body in chunks until `finish` or `discard`."""

    def __init__(self, *, directory: Path, limit_bytes: int) -> None:
        self.size_bytes = 0
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._sha256 = hashlib.sha256()
        self._chunks: list[bytes] = []
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def write(self, chunk: bytes) -> None:
        """Append a chunk, or raise Refused when the body exceeds the limit."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._limit_bytes:
            raise refusals.Refused(refusals.TOO_LARGE)
        self._sha256.update(chunk)
        if self._file is not None:
            self._file.write(chunk)
            return
        self._chunks.append(chunk)
        if self.size_bytes > MEMORY_BYTES:
            self._roll_over()

    def finish(self) -> Audio:
        """Return the complete body."""
        if self._file is not None:
            self._file.close()
        return Audio(
            sha256=self._sha256.hexdigest(),
            size_bytes=self.size_bytes,
            content=self._path or b"".join(self._chunks),
        )

    def discard(self) -> None:
        """Delete everything received so far, on disk too."""
        self._chunks.clear()
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _roll_over(self) -> None:
        handle, name = tempfile.mkstemp(prefix="emulator-", dir=self._directory)
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._file.writelines(self._chunks)
        self._chunks.clear()


def measure(audio: Audio, raw: options.RawFormat | None) -> Measure:
    """Return duration and channels, or raise Refused for anything but audio."""
    if raw is not None and raw.encoding in RAW_FORMATS:
        _, width = RAW_FORMATS[raw.encoding]
        frames = audio.size_bytes // (width * raw.channels)
        return Measure(duration=frames / raw.sample_rate, channels=raw.channels)
    with audio.open() as stream:
        found = _measure_wav(stream, audio.size_bytes)
        if found is None:
            stream.seek(0)
            found = _measure_packets(stream)
    if found is None:
        raise refusals.Refused(refusals.CORRUPT_AUDIO)
    return found


def _measure_wav(stream: BinaryIO, size_bytes: int) -> Measure | None:
    """Read the chunks of a PCM WAV file; None for any other format."""
    head = stream.read(12)
    if head[:4] not in {b"RIFF", b"RF64"} or head[8:] != b"WAVE":
        return None
    layout: tuple[int, int, int] | None = None
    for _ in range(_MAX_CHUNKS):
        if len(chunk := stream.read(8)) < struct.calcsize("<4sI"):
            return None
        name, length = struct.unpack("<4sI", chunk)
        if name == b"fmt ":
            layout = _read_layout(stream.read(min(length, _LAYOUT_BYTES)))
            stream.seek(max(length - _LAYOUT_BYTES, 0), os.SEEK_CUR)
        elif name == b"data":
            available = size_bytes - stream.tell()
            # The header of a streamed file is written before its length is known.
            declared = available if length in {0, _UNKNOWN_LENGTH} else length
            return _measure_pcm(layout, min(declared, available))
        else:
            stream.seek(length + length % 2, os.SEEK_CUR)
    return None


def _read_layout(fmt: bytes) -> tuple[int, int, int] | None:
    """Return channels, rate and bytes per frame of PCM; None for codecs."""
    try:
        tag, channels, rate, _, block = struct.unpack_from("<HHIIH", fmt)
    except struct.error:
        return None
    if tag not in _PCM_TAGS or not (channels and rate and block):
        return None
    return channels, rate, block


def _measure_pcm(layout: tuple[int, int, int] | None, length: int) -> Measure | None:
    if layout is None:
        return None
    channels, rate, block = layout
    return Measure(duration=length // block / rate, channels=channels)


def _measure_packets(stream: BinaryIO) -> Measure | None:
    """Sum the packets; decode only until the first frame proves that it is audio."""
    try:
        with av.open(stream, mode="r", options=OPEN_OPTIONS) as container:
            return _measure_track(container)
    except (av.error.FFmpegError, ValueError, OSError):
        return None


def _measure_track(container: av.container.InputContainer) -> Measure | None:
    track = next(iter(container.streams.audio), None)
    if track is None:
        return None
    ticks, delay, seconds, failures = 0, 0, 0.0, 0
    has_decoded = False
    for packet in container.demux(track):
        # Time stamps may start late or again; a container may omit durations.
        ticks += packet.duration or 0
        delay = max(delay, -(packet.pts or 0))  # of the encoder, not decoded
        if has_decoded and packet.duration:
            continue
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            failures += 1
            if failures > _MAX_BAD_PACKETS:
                return None
            continue
        has_decoded = has_decoded or bool(frames)
        if not packet.duration:
            seconds += sum(frame.samples / frame.sample_rate for frame in frames)
    if not has_decoded:
        return None
    seconds += float((ticks - delay) * (track.time_base or 0))
    return Measure(duration=seconds, channels=track.codec_context.channels)
