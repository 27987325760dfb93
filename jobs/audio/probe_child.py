"""Look at one untrusted file and print what it is, as JSON.

Run by path in a process of its own (``jobs.audio.probe``), with nothing of Django in it. The
file is its standard input. FFmpeg reads files from strangers here, under limits and in
a sandbox (``jobs.audio.sandbox``), and dies alone.
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
# The web process comes first where both want the processor.
NICENESS = 5
OPEN_SECONDS = 5.0
DEMUX_SECONDS = 5.0
# A WAV file has a few chunks. An MP4 file has two boxes a fragment.
MAX_CHUNKS = 10_000
MAX_BOXES = 100_000
PACKETS_TO_DECODE = 20
# Decoding goes on until something is heard, so most files end after a second or two.
SECONDS_TO_DECODE = 60.0
SOUND_PEAK = 600  # of 32768: -35 dB, above a quiet room and below any speech
# An encoder's padding is never that long; a cut file misses more.
SLACK_SECONDS = 0.5
SLACK_SHARE = 0.02
SLACK_BYTES = 4096
# Playlists (hls, dash, concat) name other files and hosts: never read those.
OPEN_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,ape,asf,au,avi,caf,eac3,flac,flv,gsm,"
    "matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav,wv",
    "protocol_whitelist": "fd",
    # Of a film with many languages, and of no file that is there to keep us busy.
    "max_streams": "256",
}
# Formats whose length is an estimate from the bit rate, not a statement.
ESTIMATED = ("aac", "ac3", "eac3", "amr", "gsm", "mpeg", "mpegts", "ogg")
# A size not known when the header was written: 0, or close to the largest.
_RIFF_UNKNOWN = 0x7FFF0000


@dataclass(slots=True, kw_only=True)
class PacketScan:
    """What reading the packets has shown so far."""

    decoded: int = 0
    broken: int = 0
    decoded_seconds: float = 0.0
    end_seconds: float = 0.0
    has_sound: bool = False
    is_whole: bool = True
    is_all_decoded: bool = True

    @property
    def wants_more(self) -> bool:
        """Whether the next packet is worth decoding."""
        if self.decoded + self.broken < PACKETS_TO_DECODE:
            return True
        return not self.has_sound and self.decoded_seconds < SECONDS_TO_DECODE

    @property
    def is_silent(self) -> bool | None:
        """Whether there is nothing to hear; None if it was not all listened to."""
        if self.has_sound:
            return False
        return True if self.is_whole and self.is_all_decoded else None


def examine(file: IO[bytes]) -> dict[str, Any]:
    """Return the facts about a file, or ``{"error": code}``."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        return {"error": "audio_empty"}
    try:
        missing = _stated_end(file, size) - size
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
    # Headers are often a little off; a page or a broken file that lacks its end is cut.
    is_exact = facts.get("format") == "ogg" or facts.get("error") == "audio_unreadable"
    slack = 0 if is_exact else max(SLACK_BYTES, SLACK_SHARE * size)
    return {"error": "audio_truncated"} if missing > slack else facts


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """Return the length that the header states, if any; nothing is decoded."""
    try:
        _stated_end(file, os.fstat(file.fileno()).st_size)
        with _open(file) as container:
            if not container.streams.audio:
                return {"error": "audio_missing"}
            stream = container.streams.audio[0]
            return {"duration_seconds": _stated_seconds(container, stream)}
    except av.ExitError:
        return {"error": "timeout"}
    except (av.FFmpegError, ValueError):
        return {"error": "audio_unreadable"}


@contextlib.contextmanager
def _open(file: IO[bytes]) -> Iterator[Any]:
    """Give FFmpeg the open file: in the sandbox it cannot open one by its name."""
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
    heard = _listen(container, stream)
    if heard.broken > heard.decoded:
        return {"error": "audio_unreadable"}
    if not heard.decoded:
        return {"error": "audio_empty"}
    name = container.format.name
    stated = _stated_seconds(container, stream)
    is_statement = name not in ESTIMATED and (name != "mp3" or has_length_tag)
    if stated and is_statement and heard.is_whole:
        slack = max(SLACK_SECONDS, SLACK_SHARE * stated)
        if heard.end_seconds < stated - slack:
            return {"error": "audio_truncated"}
    counted = heard.end_seconds if heard.is_whole else None
    return {
        "duration_seconds": stated if stated and is_statement else counted or stated,
        "codec": stream.codec_context.name,
        "channels": stream.codec_context.channels,
        "sample_rate": stream.codec_context.sample_rate,
        "format": name,
        "is_silent": heard.is_silent,
    }


def _listen(container: Any, stream: Any) -> PacketScan:
    """Read the packets to the end or for as long as is worth it; decode the first."""
    heard = PacketScan()
    stream.codec_context.thread_count = 1
    to_samples = av.AudioResampler(format="s16", layout="mono")
    own_length = stream.duration is not None
    give_up = time.monotonic() + DEMUX_SECONDS
    try:
        for packet in container.demux():
            is_audio = packet.stream_index == stream.index
            if is_audio and heard.wants_more:
                _decode(packet, heard, to_samples)
            elif is_audio:
                heard.is_all_decoded = False
            if packet.pts is not None and (is_audio or not own_length):
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                heard.end_seconds = max(heard.end_seconds, float(end))
            if time.monotonic() > give_up:
                heard.is_whole = False
                break
    except av.ExitError:
        heard.is_whole = False
    except av.FFmpegError:
        # Unreadable from here on: where it ended says whether that is a cut.
        heard.broken += 1
    return heard


def _decode(packet: Any, heard: PacketScan, to_samples: Any) -> None:
    try:
        frames = packet.decode()
        heard.decoded += any(frame.samples for frame in frames)
        for frame in frames:
            heard.decoded_seconds += frame.samples / frame.sample_rate
            for plain in to_samples.resample(frame):
                samples = array("h", bytes(plain.planes[0])[: plain.samples * 2])
                peak = max(max(samples, default=0), -min(samples, default=0))
                heard.has_sound = heard.has_sound or peak > SOUND_PEAK
    except av.FFmpegError:
        heard.broken += 1


def _stated_seconds(container: Any, stream: Any) -> float | None:
    """Return the length that the header states: the stream's own, or everything's."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _has_mp3_length(file: IO[bytes]) -> bool:
    file.seek(0)
    head = file.read(65536)
    return b"Xing" in head or b"Info" in head or b"VBRI" in head


def _stated_end(file: IO[bytes], size: int) -> int:
    """Return where the file should end by the sizes of its outermost chunks, or 0.

    FFmpeg believes the file's size over a WAV header, and calls an MP4 that lost its
    tail plain invalid. Raises ValueError for a WAV file of more chunks than one has.
    """
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF":
        return max(_riff_ends(file, size), default=0)
    if head[4:8] == b"ftyp":
        return max(islice(_box_ends(file, size), MAX_BOXES), default=0)
    return _last_page_end(file, size) if head[:4] == b"OggS" else 0


def _riff_ends(file: IO[bytes], size: int) -> Iterator[int]:
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


def _box_ends(file: IO[bytes], size: int) -> Iterator[int]:
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


def _last_page_end(file: IO[bytes], size: int) -> int:
    """Return where the last Ogg page ends (RFC 3533, section 6)."""
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
    """Give this process no more than a probe needs, for good."""
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    os.nice(NICENESS)


def rehearse() -> None:
    """Examine a short file of our own, so that every module is loaded that may be."""
    samples = bytes(3200)
    head = struct.pack("<IHHIIHH4sI", 16, 1, 1, 8000, 16000, 2, 16, b"data", 3200)
    length = struct.pack("<I", 4 + 4 + len(head) + len(samples))
    wav = io.BytesIO(b"RIFF" + length + b"WAVEfmt " + head + samples)
    with av.open(wav) as container:
        _examine(container, has_length_tag=False)
    with contextlib.suppress(av.FFmpegError):
        av.open(io.BytesIO())


def confine() -> bool:
    """Give this process no file, socket or program beyond what it has open.

    Return whether it is so, or cannot be on this machine; False where it failed.
    """
    # By its path, because an isolated process imports nothing from its own folder.
    sandbox = runpy.run_path(str(Path(__file__).with_name("sandbox.py")))
    try:
        if sandbox["is_supported"]():
            sandbox["confine"]()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    look = read_header if "--stated" in sys.argv[1:] else examine
    # Without a buffer, so that Python and FFmpeg agree on where the file is read.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as given:
        limit_resources()
        rehearse()
        json.dump(look(given) if confine() else {"error": "not_confined"}, sys.stdout)
