"""The audio of one call: received piece by piece, hashed, and measured.

Nothing is decoded beyond the first frame: the duration is the sum of what really
arrived, never what a header promises, so a truncated upload shows.
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

# Below this a body stays in memory; above it goes to a file, so that a gigabyte
# costs no more memory than this.
MEMORY_BYTES = 256 * 1024
# Formats that carry audio. Playlists (HLS, concat) stay out: they name other files.
FORMATS = (
    "wav,w64,aiff,au,caf,mp3,flac,ogg,mov,mp4,m4a,matroska,webm,aac,adts,amr,"
    "amrnb,amrwb,asf,avi,flv,mpeg,mpegts,ac3,eac3,wv,ape,tta,s16le,s32le,f32le,mulaw,alaw"
)
OPEN_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
# What FFmpeg calls containerless audio, and the bytes in one sample.
RAW_FORMATS = {
    "linear16": ("s16le", 2),
    "linear32": ("f32le", 4),
    "mulaw": ("mulaw", 1),
    "alaw": ("alaw", 1),
}

_PCM_TAGS = frozenset({1, 3, 6, 7, 0xFFFE})
# A real file has a dozen; what has more is left to the packets.
_MAX_CHUNKS = 1000
_UNKNOWN_LENGTH = 0xFFFFFFFF
_LAYOUT_BYTES = 40
_BAD_PACKETS_BORNE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What the audio really holds."""

    duration: float
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A received body: its bytes, or the temporary file that has them."""

    sha256: str
    size_bytes: int
    content: bytes | Path

    def open(self) -> BinaryIO:
        """Return a fresh reader over the bytes."""
        if isinstance(self.content, Path):
            return self.content.open("rb")
        return io.BytesIO(self.content)

    def discard(self) -> None:
        """Erase the temporary file; harmless when repeated."""
        if isinstance(self.content, Path):
            self.content.unlink(missing_ok=True)


class Spool:
    """Take a body in piece by piece; it ends in `finish` or in `discard`."""

    def __init__(self, *, directory: Path, limit_bytes: int) -> None:
        self.size_bytes = 0
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._sha256 = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def write(self, piece: bytes) -> None:
        """Take the next bytes; refuse a body over the limit."""
        self.size_bytes += len(piece)
        if self.size_bytes > self._limit_bytes:
            raise refusals.Refused(refusals.TOO_LARGE)
        self._sha256.update(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self._pieces.append(piece)
        if self.size_bytes > MEMORY_BYTES:
            self._roll_over()

    def finish(self) -> Audio:
        """Return the whole body."""
        if self._file is not None:
            self._file.close()
        return Audio(
            sha256=self._sha256.hexdigest(),
            size_bytes=self.size_bytes,
            content=self._path or b"".join(self._pieces),
        )

    def discard(self) -> None:
        """Forget what came so far, on disk too."""
        self._pieces.clear()
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _roll_over(self) -> None:
        handle, name = tempfile.mkstemp(prefix="emulator-", dir=self._directory)
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._file.writelines(self._pieces)
        self._pieces.clear()


def measure(audio: Audio, raw: options.RawFormat | None) -> Measure:
    """Return duration and channels, or raise Refused when this is no audio."""
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
    """Read the chunks of a PCM WAV; None when it is anything else."""
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
            # Streamed files do not know their length when the header is written.
            promised = available if length in {0, _UNKNOWN_LENGTH} else length
            return _measure_pcm(layout, min(promised, available))
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
    """Walk the packets without decoding them, save for a first frame as proof."""
    try:
        with av.open(stream, mode="r", options=OPEN_OPTIONS) as container:
            return _walk(container)
    except (av.error.FFmpegError, ValueError, OSError):
        return None


def _walk(container: av.container.InputContainer) -> Measure | None:
    track = next(iter(container.streams.audio), None)
    if track is None:
        return None
    end = 0.0
    failures = 0
    is_proven = False
    for packet in container.demux(track):
        if not is_proven:
            try:
                is_proven = bool(packet.decode())
            except av.error.FFmpegError:
                failures += 1
                if failures > _BAD_PACKETS_BORNE:
                    return None
        if packet.pts is not None and packet.time_base is not None:
            ticks = packet.pts + (packet.duration or 0)
            end = max(end, float(ticks * packet.time_base))
    if not is_proven:
        return None
    return Measure(duration=end, channels=track.codec_context.channels)
