"""Check that an upload is audio and measure its duration, before it costs money.

A short-lived child process (``jobs.audio.probe_child``) reads the file: it has no
secrets, can open nothing, and has resource limits. This module starts it and parses its
output.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.audio import probe_child, sandbox
from jobs.concurrency.fair_slots import FairSlots
from jobs.errors import InvalidRequest, ServiceUnavailable, UnsupportedAudio
from jobs.models import DURATION_ESTIMATED
from jobs.parsing.strict_json import pointer_to

logger = logging.getLogger(__name__)

PROBES_AT_ONCE = 4
WAIT_SECONDS = 30.0
WALL_SECONDS = 20.0

READABLE = (
    "AAC, AC-3, AIFF, AMR, APE, ASF and WMA, AU, AVI, CAF, DSF, DTS, FLAC, FLV, GSM,"
    " Matroska and WebM, MP3, MP4 and M4A and MOV and 3GP, Musepack, MPEG-PS and"
    " MPEG-TS, MXF, Ogg (Opus, Vorbis, Speex), RealMedia, TAK, TTA, VOC, WAV and W64,"
    " WavPack, WTV"
)
MESSAGES = {
    "audio_empty": "The file is empty: it has no audio.",
    "audio_missing": "The file has no audio track.",
    "audio_truncated": "The file is cut off: its audio ends before its header states.",
    "audio_unreadable": "The file is not readable audio. Readable formats:"
    f" {READABLE}.",
}
_TRACK_MISSING = "audio_track_missing"
# By FFmpeg's name of the format: the type of a file with video and of one without.
_MIME_TYPES = {
    "aac": ("audio/aac", "audio/aac"),
    "aiff": ("audio/aiff", "audio/aiff"),
    "amr": ("audio/amr", "audio/amr"),
    "asf": ("video/x-ms-asf", "audio/x-ms-wma"),
    "avi": ("video/x-msvideo", "video/x-msvideo"),
    "flac": ("audio/flac", "audio/flac"),
    "flv": ("video/x-flv", "video/x-flv"),
    "matroska,webm": ("video/webm", "audio/webm"),
    "mov,mp4,m4a,3gp,3g2,mj2": ("video/mp4", "audio/mp4"),
    "mp3": ("audio/mpeg", "audio/mpeg"),
    "mpeg": ("video/mpeg", "video/mpeg"),
    "mpegts": ("video/mp2t", "video/mp2t"),
    "ogg": ("video/ogg", "audio/ogg"),
    "wav": ("audio/wav", "audio/wav"),
}
_BYTES_PER_SAMPLE = {"linear16": 2, "mulaw": 1}

# Bounds the number of child processes, and the share of one tenant.
_slots = FairSlots(PROBES_AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The properties of an audio file; an unknown duration is None."""

    duration_seconds: float | None
    codec: str
    channels: int
    sample_rate: int
    format: str
    is_silent: bool | None = None
    # The file was too large to read as a whole.
    is_estimated: bool = False
    has_video: bool = False
    # The number of the audio track that the other fields describe, and all tracks.
    track: int = 1
    tracks: tuple[Mapping[str, Any], ...] = ()

    @property
    def content_type(self) -> str:
        """The MIME type of the file's format, independent of the upload's header."""
        default = "video/*" if self.has_video else "application/octet-stream"
        with_video, without = _MIME_TYPES.get(self.format, (default, default))
        return with_video if self.has_video else without

    @property
    def has_several_tracks(self) -> bool:
        """Whether the file has more than one audio track."""
        return len(self.tracks) > 1

    def find_warnings(self) -> Iterator[dict[str, str]]:
        """Yield warnings, each with a stable code and a sentence."""
        if self.has_several_tracks:
            listed = "; ".join(map(_name_track, self.tracks))
            yield {
                "code": "several_audio_tracks",
                "detail": f"The file has {len(self.tracks)} audio tracks: {listed}."
                f" Track {self.track} is transcribed; the option audio_track chooses"
                " another.",
            }
        if self.is_estimated:
            yield {
                "code": DURATION_ESTIMATED,
                "detail": "The file is too large to be read before the transcription:"
                " its duration is an estimate.",
            }


def _name_track(track: Mapping[str, Any]) -> str:
    silence = "silent" if track["is_silent"] else ""
    channels = f"{track['channels']} channel{'s' * (track['channels'] != 1)}"
    title = f"'{track['title']}'" if track["title"] else ""
    parts = (track["codec"], channels, track["language"], title, silence)
    return f"{track['number']} ({', '.join(filter(None, parts))})"


def probe_audio(path: Path, *, tenant: Hashable, track: int | None = None) -> Probe:
    """Probe a tenant's file: an audio track by number, or the first with sound.

    Raises UnsupportedAudio if it is not complete, readable audio, InvalidRequest if it
    has no such track, and ServiceUnavailable if no slot is free in time.
    """
    flags = [str(track)] if track else []
    facts = _run_in_slot(path, *flags, tenant=tenant, wait=WAIT_SECONDS)
    code = facts.get("error")
    if code == _TRACK_MISSING:
        number = facts["tracks"]
        raise InvalidRequest(
            f"The file has {number} audio track{'s' * (number != 1)}.",
            code="option_invalid",
            pointer=pointer_to("options", "audio_track"),
        )
    if code:
        raise UnsupportedAudio(MESSAGES[code], code=code)
    return Probe(**facts | {"tracks": tuple(facts["tracks"])})


def read_declared_seconds(path: Path, *, tenant: Hashable, wait: float) -> float | None:
    """Return the duration in a file's header, or None; the file may be sparse.

    Raises ServiceUnavailable if no slot is free within ``wait`` seconds.
    """
    facts = _run_in_slot(path, "--declared", tenant=tenant, wait=wait)
    seconds = facts.get("duration_seconds")
    return None if seconds is None else float(seconds)


def describe_raw(size_bytes: int, options: Mapping[str, Any]) -> Probe:
    """Describe headerless audio by its options; the file is not read."""
    if not size_bytes:
        raise UnsupportedAudio(MESSAGES["audio_empty"], code="audio_empty")
    encoding = options["encoding"]
    rate, channels = options["sample_rate"], options.get("channels", 1)
    width = _BYTES_PER_SAMPLE.get(encoding)
    return Probe(
        duration_seconds=size_bytes / (rate * channels * width) if width else None,
        codec=encoding,
        channels=channels,
        sample_rate=rate,
        format="raw",
    )


def warn_if_unconfined() -> None:
    """Log a warning at start-up if this machine cannot confine the child."""
    if not sandbox.is_supported():
        logger.warning(
            "audio is probed without a sandbox, which needs Linux with seccomp on"
            " x86_64 or aarch64"
        )


def _run_in_slot(
    path: Path, *flags: str, tenant: Hashable, wait: float
) -> dict[str, Any]:
    with _slots.acquire(tenant, timeout=wait) as has_slot:
        if not has_slot:
            raise ServiceUnavailable(
                "Too many uploads are being checked; retry shortly."
            )
        facts = _run_child(path, *flags)
    error = facts.get("error")
    if error and error not in {*MESSAGES, _TRACK_MISSING}:
        logger.error("upload not probed", extra={"reason": error})
        raise ServiceUnavailable("The upload could not be checked in time.")
    return facts


def _run_child(path: Path, *flags: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            child = subprocess.run(  # noqa: S603  our own script and flags
                # Isolated: neither the environment nor the folder adds to its imports.
                [sys.executable, "-I", probe_child.__file__, *flags],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=WALL_SECONDS,
                env={},  # no secrets in a process that reads untrusted files
                cwd="/",
                check=False,
            )
    except subprocess.TimeoutExpired as error:
        raise ServiceUnavailable("The upload could not be checked in time.") from error
    if child.returncode:
        return {"error": "audio_unreadable"}
    facts: dict[str, Any] = json.loads(child.stdout)
    return facts
