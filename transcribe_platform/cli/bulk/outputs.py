"""Writes result files atomically."""

import os
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


def build_path(folder: Path, target: PurePosixPath, format_name: str) -> Path:
    """Return the path of a result file."""
    return folder / target.with_name(target.name + EXTENSIONS[format_name])


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[str]]:
    """Open a text file that replaces `path` when the block succeeds; raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file and rename it into place; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
