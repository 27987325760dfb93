"""Find out whether a file is audio, and how long, before anything is spent on it.

The reading itself happens in a short-lived child (``jobs.probe_child``) that holds no
secret and cannot outgrow its limits; this module only starts it and takes its word.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import probe_child
from jobs.errors import ServiceUnavailable, UnsupportedAudio

PROBES_AT_ONCE = 4
WALL_SECONDS = 30.0

MESSAGES = {
    "audio_empty": "The file holds no audio: it is empty.",
    "audio_missing": "The file has no audio track.",
    "audio_truncated": "The file is cut off: it ends before its header says.",
    "audio_unreadable": "The file is not audio that can be read.",
}
_MIME_TYPES = {
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "amr": "audio/amr",
    "flac": "audio/flac",
    "matroska,webm": "video/webm",
    "mov,mp4,m4a,3gp,3g2,mj2": "audio/mp4",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
}
_BYTES_PER_SAMPLE = {"linear16": 2, "mulaw": 1}

# A burst of uploads must not become as many processes.
_slots = threading.BoundedSemaphore(PROBES_AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What an audio file is; the duration is None where only Deepgram will know."""

    duration_seconds: float | None
    codec: str
    channels: int
    sample_rate: int
    format: str
    is_silent: bool | None = None

    @property
    def content_type(self) -> str:
        """The MIME type of what is in the file, whatever its sender called it."""
        return _MIME_TYPES.get(self.format, "application/octet-stream")


def probe_audio(path: Path) -> Probe:
    """Look at a file; raise UnsupportedAudio if it is not whole, readable audio.

    Raises ServiceUnavailable when the machine is too busy to tell.
    """
    facts = _run_in_turn(path)
    code = facts.get("error")
    if code:
        raise UnsupportedAudio(MESSAGES[code], code=code)
    return Probe(**facts)


def find_stated_seconds(path: Path) -> float | None:
    """Return the length that a file's header states; the file may have holes.

    None where it states none. Raises ServiceUnavailable as ``probe_audio`` does.
    """
    seconds = _run_in_turn(path, "--stated").get("duration_seconds")
    return None if seconds is None else float(seconds)


def describe_raw(size_bytes: int, options: Mapping[str, Any]) -> Probe:
    """Describe headerless audio by the options that say what it is; nothing is read."""
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


def _run_in_turn(path: Path, *flags: str) -> dict[str, Any]:
    if not _slots.acquire(timeout=WALL_SECONDS):
        raise ServiceUnavailable("Too many uploads are being examined.")
    try:
        return _run_child(path, *flags)
    finally:
        _slots.release()


def _run_child(path: Path, *flags: str) -> dict[str, Any]:
    try:
        child = subprocess.run(  # noqa: S603  our own script, a path of our making
            # Isolated: neither the environment nor the folder adds to its imports.
            [sys.executable, "-I", probe_child.__file__, str(path), *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=WALL_SECONDS,
            env={},  # no secret of ours in a process that reads strangers' files
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceUnavailable("The upload could not be examined in time.") from error
    if child.returncode:
        return {"error": "audio_unreadable"}
    facts: dict[str, Any] = json.loads(child.stdout)
    return facts
