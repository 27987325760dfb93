"""Probe one untrusted file with FFmpeg and print its properties as JSON.

``jobs.audio.probe`` runs this file by path in a separate process, without Django, with
resource limits and a sandbox (``jobs.audio.sandbox``). The audio is standard input.
"""

import contextlib
import io
import json
import os
import resource
import runpy
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import av

MEMORY_BYTES = 512 * 1024**2
CPU_SECONDS = 12
# The web process has priority, but a busy machine still probes within WALL_SECONDS.
NICENESS = 10
OPEN_SECONDS = 5.0
DEMUX_SECONDS = 5.0
# A WAV file has a few chunks, an MP4 file two boxes per fragment.
MAX_CHUNKS = 10_000
MAX_BOXES = 100_000
PACKETS_TO_DECODE = 20
# Decoding stops at the first sound, after a second or two of most files.
SECONDS_TO_DECODE = 60.0
SOUND_PEAK = 600  # of 32768: -35 dB, above a quiet room and below any speech
# More than the padding of any encoder, less than the missing part of a cut file.
TOLERANCE_SECONDS = 0.5
TOLERANCE_SHARE = 0.02
TOLERANCE_BYTES = 4096
# Playlists (hls, dash, concat) name other files and hosts: never read those.
OPEN_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,gsm,"
    "matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv",
    "protocol_whitelist": "fd",
    # Enough for a film in many languages.
    "max_streams": "256",
}
# Formats whose duration is an estimate from the bit rate, not in the header.
ESTIMATED = ("aac", "ac3", "eac3", "amr", "gsm", "mpeg", "mpegts", "ogg")
# Sizes from here on mean unknown: the header was written before the audio.
_RIFF_UNKNOWN = 0x7FFF0000


@dataclass(slots=True, kw_only=True)
class PacketScan:
    """The results of reading the packets so far."""

    decoded: int = 0
    broken: int = 0
    decoded_seconds: float = 0.0
    end_seconds: float = 0.0
    has_sound: bool = False
    is_whole: bool = True
    is_all_decoded: bool = True

    @property
    def needs_decoding(self) -> bool:
        """Whether to decode the next packet."""
        if self.decoded + self.broken < PACKETS_TO_DECODE:
            return True
        return not self.has_sound and self.decoded_seconds < SECONDS_TO_DECODE

    @property
    def is_silent(self) -> bool | None:
        """Whether the audio is silent; None if not all of it was decoded."""
        if self.has_sound:
            return False
        return True if self.is_whole and self.is_all_decoded else None


def examine(file: IO[bytes]) -> dict[str, Any]:
    """Return the properties of a file, or ``{"error": code}``."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        return {"error": "audio_empty"}
    try:
        missing = _find_declared_end(file, size) - size
        has_length_tag = _has_mp3_length(file)
    except ValueError:
        return {"error": "audio_unreadable"}
    try:
        with _open(file) as container:
            facts = _examine(container, has_length_tag=has_length_tag)
    except av.ExitError:
        return {"error": "timeout"}
    except (av.FFmpegError, ValueError):
        facts = {"error": "audio_unreadable"}
    # Sizes in headers are often slightly wrong, except Ogg pages; an unreadable file
    # that lacks its end is cut off.
    is_exact = facts.get("format") == "ogg" or facts.get("error") == "audio_unreadable"
    tolerance = 0 if is_exact else max(TOLERANCE_BYTES, TOLERANCE_SHARE * size)
    return {"error": "audio_truncated"} if missing > tolerance else facts


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """Return the duration in the header, if any, without decoding."""
    try:
        _find_declared_end(file, os.fstat(file.fileno()).st_size)
        with _open(file) as container:
            if not container.streams.audio:
                return {"error": "audio_missing"}
            stream = container.streams.audio[0]
            return {"duration_seconds": _read_declared_seconds(container, stream)}
    except av.ExitError:
        return {"error": "timeout"}
    except (av.FFmpegError, ValueError):
        return {"error": "audio_unreadable"}


@contextlib.contextmanager
def _open(file: IO[bytes]) -> Iterator[Any]:
    """Pass FFmpeg the open file, because the sandbox forbids opening one by path."""
    file.seek(0)
    options = OPEN_OPTIONS | {"fd": str(file.fileno())}
    with av.open(
        "fd:",
        container_options=options,
        metadata_errors="replace",
        timeout=(OPEN_SECONDS, DEMUX_SECONDS),
    ) as container:
        yield container


def _examine(container: Any, *, has_length_tag: bool) -> dict[str, Any]:
    if not container.streams.audio:
        return {"error": "audio_missing"}
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        return {"error": "audio_unreadable"}
    scan = _scan_packets(container, stream)
    if scan.broken > scan.decoded:
        return {"error": "audio_unreadable"}
    if not scan.decoded:
        return {"error": "audio_empty"}
    name = container.format.name
    declared = _read_declared_seconds(container, stream)
    is_reliable = name not in ESTIMATED and (name != "mp3" or has_length_tag)
    if declared and is_reliable and scan.is_whole:
        tolerance = max(TOLERANCE_SECONDS, TOLERANCE_SHARE * declared)
        if scan.end_seconds < declared - tolerance:
            return {"error": "audio_truncated"}
    counted = scan.end_seconds if scan.is_whole else None
    return {
        "duration_seconds": declared
        if declared and is_reliable
        else counted or declared,
        "codec": stream.codec_context.name,
        "channels": stream.codec_context.channels,
        "sample_rate": stream.codec_context.sample_rate,
        "format": name,
        "is_silent": scan.is_silent,
    }


def _scan_packets(container: Any, stream: Any) -> PacketScan:
    """Read packets for at most ``DEMUX_SECONDS``; decode the first ones."""
    scan = PacketScan()
    stream.codec_context.thread_count = 1
    to_samples = av.AudioResampler(format="s16", layout="mono")
    own_length = stream.duration is not None
    give_up = time.monotonic() + DEMUX_SECONDS
    try:
        for packet in container.demux():
            is_audio = packet.stream_index == stream.index
            if is_audio and scan.needs_decoding:
                _decode(packet, scan, to_samples)
            elif is_audio:
                scan.is_all_decoded = False
            if packet.pts is not None and (is_audio or not own_length):
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                scan.end_seconds = max(scan.end_seconds, float(end))
            if time.monotonic() > give_up:
                scan.is_whole = False
                break
    except av.ExitError:
        scan.is_whole = False
    except av.FFmpegError:
        # Unreadable from here on; the end so far shows whether the file is cut off.
        scan.broken += 1
    return scan


def _decode(packet: Any, scan: PacketScan, to_samples: Any) -> None:
    try:
        frames = packet.decode()
        scan.decoded += any(frame.samples for frame in frames)
        for frame in frames:
            scan.decoded_seconds += frame.samples / frame.sample_rate
            for plain in to_samples.resample(frame):
                samples = array("h", bytes(plain.planes[0])[: plain.samples * 2])
                peak = max(max(samples, default=0), -min(samples, default=0))
                scan.has_sound = scan.has_sound or peak > SOUND_PEAK
    except av.FFmpegError:
        scan.broken += 1


def _read_declared_seconds(container: Any, stream: Any) -> float | None:
    """Return the duration in the header: the stream's, or the container's."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _has_mp3_length(file: IO[bytes]) -> bool:
    file.seek(0)
    head = file.read(65536)
    return b"Xing" in head or b"Info" in head or b"VBRI" in head


def _find_declared_end(file: IO[bytes], size: int) -> int:
    """Return the file size declared by its outermost chunks, or 0.

    Finds cut-off files: FFmpeg ignores the size in a WAV header and reports a cut MP4
    as invalid. Raises ValueError for a WAV file with more than ``MAX_CHUNKS``.
    """
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF":
        return max(_iter_riff_ends(file, size), default=0)
    if head[4:8] == b"ftyp":
        return max(islice(_iter_box_ends(file, size), MAX_BOXES), default=0)
    return _find_last_page_end(file, size) if head[:4] == b"OggS" else 0


def _iter_riff_ends(file: IO[bytes], size: int) -> Iterator[int]:
    at, number = 12, 0
    while at + 8 <= size:
        number += 1
        if number > MAX_CHUNKS:
            raise ValueError("too many chunks")
        file.seek(at)
        _, length = struct.unpack("<4sI", file.read(8))
        if length >= _RIFF_UNKNOWN:
            return
        at += 8 + length
        yield at
        at += length % 2


def _iter_box_ends(file: IO[bytes], size: int) -> Iterator[int]:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            extended = file.read(8).ljust(8, b"\0")
            length = struct.unpack(">Q", extended)[0]
        if length < 8 or not kind.isalnum():  # noqa: PLR2004  0: up to the end
            return
        at += length
        yield at


def _find_last_page_end(file: IO[bytes], size: int) -> int:
    """Return the declared end of the last Ogg page (RFC 3533, section 6)."""
    start = max(0, size - 65536)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(b"OggS")
    lengths_at = at + 27
    if at < 0 or len(tail) < lengths_at:
        return size + 1
    lengths = tail[lengths_at : lengths_at + tail[at + 26]]
    return start + lengths_at + tail[at + 26] + sum(lengths)


def limit_resources() -> None:
    """Limit this process to the resources of a probe."""
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    os.nice(NICENESS)


def load_modules() -> None:
    """Probe a generated file, so that all modules are loaded before the sandbox."""
    samples = bytes(3200)
    head = struct.pack("<IHHIIHH4sI", 16, 1, 1, 8000, 16000, 2, 16, b"data", 3200)
    length = struct.pack("<I", 4 + 4 + len(head) + len(samples))
    wav = io.BytesIO(b"RIFF" + length + b"WAVEfmt " + head + samples)
    with av.open(wav) as container:
        _examine(container, has_length_tag=False)
    with contextlib.suppress(av.FFmpegError):
        av.open(io.BytesIO())


def confine() -> bool:
    """Start the sandbox; return False if it failed, True if it is unsupported here."""
    # By path, because an isolated process cannot import from its own folder.
    sandbox = runpy.run_path(str(Path(__file__).with_name("sandbox.py")))
    try:
        if sandbox["is_supported"]():
            sandbox["confine"]()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    probe = read_header if "--declared" in sys.argv[1:] else examine
    # Unbuffered, so that Python and FFmpeg share the file position.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as file:
        limit_resources()
        load_modules()
        json.dump(probe(file) if confine() else {"error": "not_confined"}, sys.stdout)
