"""Writes result files atomically."""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

EXTENSIONS = {
    "text": ".txt",
    "json": ".json",
    "srt": ".srt",
    "vtt": ".vtt",
    "raw": ".deepgram.json",
}


# The longest name of a file that Linux, macOS and Windows accept, in bytes of UTF-8.
MAX_NAME_BYTES = 255
_DIGEST_BYTES = 4


def build_path(folder: Path, target: PurePosixPath, format_name: str) -> Path:
    """Return the path of a result file; a name that is too long ends in a digest."""
    extension = EXTENSIONS[format_name]
    room = MAX_NAME_BYTES - len(extension)
    return folder / target.with_name(_shorten(target.name, room) + extension)


def _shorten(name: str, room: int) -> str:
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) <= room:
        return name
    digest = hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).hexdigest()
    kept = encoded[: room - len(digest) - 1].decode(errors="ignore")
    return f"{kept}-{digest}"


def _build_temporary(path: Path) -> Path:
    """Return a path in the same folder whose name is short, whatever the result's."""
    return path.with_name(f".{secrets.token_hex(8)}.part")


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[str]]:
    """Open a text file that replaces `path` when the block succeeds; raises OSError."""
    temporary = _build_temporary(path)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class NotWritten(OSError):
    """A result could not be written; the job is complete and paid for."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file and rename it into place; raises NotWritten."""
    try:
        _write_atomically(path, content)
    except OSError as error:
        raise NotWritten(error.errno, error.strerror, str(path)) from error


def _write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _build_temporary(path)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
