"""Check that an upload is audio and measure its duration, before it costs money.

A short-lived child process (``jobs.audio.probe_child``) reads the file: it has no
secrets, can open nothing, and has resource limits. This module starts it and parses its
output.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.audio import probe_child, sandbox
from jobs.concurrency.fair_slots import FairSlots
from jobs.errors import ServiceUnavailable, UnsupportedAudio

logger = logging.getLogger(__name__)

PROBES_AT_ONCE = 4
WAIT_SECONDS = 30.0
WALL_SECONDS = 20.0

MESSAGES = {
    "audio_empty": "The file is empty: it has no audio.",
    "audio_missing": "The file has no audio track.",
    "audio_truncated": "The file is cut off: it is shorter than its header states.",
    "audio_unreadable": "The file is not readable audio.",
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

    @property
    def content_type(self) -> str:
        """The MIME type of the file's format, independent of the upload's header."""
        return _MIME_TYPES.get(self.format, "application/octet-stream")


def probe_audio(path: Path, *, tenant: Hashable) -> Probe:
    """Probe a tenant's file.

    Raises UnsupportedAudio if it is not complete, readable audio, and
    ServiceUnavailable if no slot is free in time.
    """
    facts = _run_in_slot(path, tenant=tenant, wait=WAIT_SECONDS)
    code = facts.get("error")
    if code:
        raise UnsupportedAudio(MESSAGES[code], code=code)
    return Probe(**facts)


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
    if error and error not in MESSAGES:
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
