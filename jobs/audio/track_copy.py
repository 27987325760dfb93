"""Copy one audio track out of an upload, in the same confined child as the probe."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import IO

from jobs.audio import probe_child

_MATROSKA = b"\x1aE\xdf\xa3"  # EBML
WALL_SECONDS = 60.0
_CHUNK_BYTES = 256 * 1024


def copy_track(
    file: IO[bytes], output: IO[bytes], *, track: int, max_bytes: int
) -> int | None:
    """Copy a track, by its number from 1, to ``output``; return the bytes written.

    The file needs a descriptor. Returns None if the track cannot be copied, takes too
    long, or is larger than ``max_bytes``.
    """
    size = 0
    with _run_child(file, track) as child:
        while chunk := _read(child):
            size += len(chunk)
            if size > max_bytes:
                return None
            output.write(chunk)
    return size if child.returncode == 0 and size else None


def name_type(head: bytes) -> str:
    """Return the media type of a copy by its first bytes."""
    return "audio/x-matroska" if head.startswith(_MATROSKA) else "audio/aac"


@contextmanager
def _run_child(file: IO[bytes], track: int) -> "Iterator[subprocess.Popen[bytes]]":
    file.seek(0)
    child = subprocess.Popen(  # noqa: S603  our own script and a number
        # Isolated, and without secrets: see jobs.audio.probe.
        [sys.executable, "-I", probe_child.__file__, "--copy", str(track)],
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
    )
    timer = Timer(WALL_SECONDS, child.kill)
    timer.start()
    try:
        with child:
            try:
                yield child
            except BaseException:
                child.kill()
                raise
            finally:
                # Its output is not read to the end if it is too large.
                if child.stdout:
                    child.stdout.close()
    finally:
        timer.cancel()


def _read(child: "subprocess.Popen[bytes]") -> bytes:
    return child.stdout.read(_CHUNK_BYTES) if child.stdout else b""
