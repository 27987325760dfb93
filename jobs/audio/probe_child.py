"""Probe one untrusted file with FFmpeg and print its properties as JSON.

``jobs.audio.probe`` runs this file by path in a separate process, without Django, with
resource limits and a sandbox (``jobs.audio.sandbox``). The audio is standard input.
"""

import contextlib
import io
import json
import os
import resource
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import av

if __name__ == "__main__":
    # An isolated process does not find the package that its script is in.
    sys.path.append(str(Path(__file__).parents[2]))

from jobs.audio import declared_sizes, media_scan, sandbox, track_muxer

MEMORY_BYTES = 512 * 1024**2
CPU_SECONDS = 12
# The web process has priority, but a busy machine still probes within WALL_SECONDS.
NICENESS = 10
OPEN_SECONDS = 5.0
DEMUX_SECONDS = 5.0
# Up to this size every packet is read, which takes a second; of larger files, as many
# as in LARGE_SECONDS.
EXACT_BYTES = 100 * 1024**2
LARGE_SECONDS = 1.0
TOLERANCE_BYTES = 4096
TOLERANCE_SHARE = 0.02
# Playlists (hls, dash, concat) name other files and hosts: never read those.
FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,matroska,mov,mp3,mpc,"
    "mpc8,mpeg,mpegts,mxf,ogg,rm,tak,tta,voc,w64,wav,wtv,wv"
)
OPEN_OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "fd",
    # Enough for a film in many languages.
    "max_streams": "256",
}


class UnusableAudio(Exception):
    """The file has no audio that can be transcribed; ``facts`` name the error."""

    def __init__(self, error: str, **facts: Any) -> None:
        super().__init__(error)
        self.facts = {"error": error, **facts}


def examine(file: IO[bytes], *, track: int | None = None) -> dict[str, Any]:
    """Return the properties of a file, or ``{"error": code}``.

    ``track`` is the number of an audio track, from 1; without it, the first one that is
    not silent is described.
    """
    size = os.fstat(file.fileno()).st_size
    if not size:
        return {"error": "audio_empty"}
    try:
        header = declared_sizes.read_header(file, size)
    except ValueError:
        return {"error": "audio_unreadable"}
    try:
        with _open(file) as container:
            facts = _examine(container, header, track=track, size=size)
    except av.ExitError:
        return {"error": "timeout"}
    except UnusableAudio as error:
        facts = error.facts
    except (av.FFmpegError, ValueError):
        facts = {"error": "audio_unreadable"}
    # FFmpeg cannot read some files at all that lack their end.
    is_unread = facts.get("error") in {"audio_unreadable", "audio_empty"}
    is_cut = is_unread and header.end > size
    return {"error": "audio_truncated"} if is_cut else facts


def read_header(file: IO[bytes]) -> dict[str, Any]:
    """Return the duration in the header, if any, without decoding."""
    try:
        declared_sizes.read_header(file, os.fstat(file.fileno()).st_size)
        with _open(file) as container:
            if not container.streams.audio:
                return {"error": "audio_missing"}
            stream = container.streams.audio[0]
            seconds = media_scan.read_declared_seconds(container, stream)
            return {"duration_seconds": seconds}
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


def _examine(
    container: Any,
    header: declared_sizes.DeclaredLength,
    *,
    track: int | None,
    size: int,
) -> dict[str, Any]:
    if not container.streams.audio:
        raise UnusableAudio("audio_missing")
    is_large = size > EXACT_BYTES
    scan = media_scan.scan_packets(
        container, seconds=LARGE_SECONDS if is_large else DEMUX_SECONDS
    )
    tracks = list(scan.tracks.values())
    chosen = _choose(scan, track)
    if _is_cut_off(container, header, scan, chosen, size=size):
        raise UnusableAudio("audio_truncated")
    context = chosen.stream.codec_context
    return {
        "duration_seconds": chosen.duration_seconds
        if scan.is_whole
        else media_scan.estimate_seconds(container, scan, chosen, size=size),
        "is_estimated": not scan.is_whole,
        "codec": context.name,
        "channels": context.channels,
        "sample_rate": context.sample_rate,
        "format": container.format.name,
        "is_silent": chosen.is_silent,
        "has_video": media_scan.has_video(container),
        "track": tracks.index(chosen) + 1,
        "tracks": [
            media_scan.describe_track(number, each)
            for number, each in enumerate(tracks, start=1)
        ],
    }


def _choose(scan: media_scan.MediaScan, number: int | None) -> media_scan.TrackScan:
    """Return the track by number, or the first with sound; raise UnusableAudio."""
    tracks = list(scan.tracks.values())
    if number is not None and number > len(tracks):
        raise UnusableAudio("audio_track_missing", tracks=len(tracks))
    if not tracks:
        raise UnusableAudio("audio_unreadable")
    chosen = tracks[number - 1] if number else media_scan.choose_track(tracks)
    if chosen.broken + scan.is_broken > chosen.decoded:
        raise UnusableAudio("audio_unreadable")
    if not chosen.decoded:
        raise UnusableAudio("audio_empty")
    return chosen


def _is_cut_off(
    container: Any,
    header: declared_sizes.DeclaredLength,
    scan: media_scan.MediaScan,
    track: media_scan.TrackScan,
    *,
    size: int,
) -> bool:
    """Return whether the decoder ran out of data before the end."""
    name, missing = container.format.name, header.end - size
    if scan.is_whole and media_scan.is_cut_off(
        container, scan, track, tag_seconds=header.mp3_seconds
    ):
        return True
    if name == "ogg":
        return missing > 0
    # The index of an MP4 file says more than the sizes of its boxes.
    has_index = name.startswith("mov") and track.stream.duration and scan.is_whole
    return not has_index and missing > max(TOLERANCE_BYTES, TOLERANCE_SHARE * size)


class _Pipe:
    """Standard output for FFmpeg, which would try to seek in a file."""

    def write(self, data: bytes) -> int:
        """Write all of the data."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
        return len(data)


def copy_track(file: IO[bytes], number: int) -> None:
    """Write an audio track to standard output; exit with a status if that fails."""
    try:
        with _open(file) as container:
            track_muxer.copy_track(container, number, _Pipe())
    except (av.FFmpegError, ValueError, IndexError):
        sys.exit(1)


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
        header = declared_sizes.DeclaredLength()
        _examine(container, header, track=None, size=len(samples))
    wav.seek(0)
    with av.open(wav) as container:
        track_muxer.copy_track(container, 1, io.BytesIO())
    with contextlib.suppress(av.FFmpegError):
        av.open(io.BytesIO())


def confine() -> bool:
    """Start the sandbox; return False if it failed, True if it is unsupported here."""
    try:
        if sandbox.is_supported():
            sandbox.confine()
    except OSError:
        return False
    return True


def main(arguments: list[str]) -> None:
    """Examine standard input, or an audio track of it by number.

    ``--declared`` reads its header only, ``--copy NUMBER`` writes the track to the
    output.
    """
    # Unbuffered, so that Python and FFmpeg share the file position.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as file:
        limit_resources()
        load_modules()
        is_confined = confine()
        if arguments[:1] == ["--copy"]:
            if not is_confined:
                sys.exit(1)
            copy_track(file, int(arguments[1]))
            return
        if not is_confined:
            facts: dict[str, Any] = {"error": "not_confined"}
        elif arguments == ["--declared"]:
            facts = read_header(file)
        else:
            facts = examine(file, track=int(arguments[0]) if arguments else None)
        json.dump(facts, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
