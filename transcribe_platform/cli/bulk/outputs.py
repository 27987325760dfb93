"""Where transcripts go: files that are whole or not there, or stdout."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

ENDINGS = {
    "text": ".txt",
    "json": ".json",
    "srt": ".srt",
    "vtt": ".vtt",
    "raw": ".deepgram.json",
}


def path_of(folder: Path, target: PurePosixPath, format_name: str) -> Path:
    """Return where a result goes."""
    return folder / target.with_name(target.name + ENDINGS[format_name])


@contextmanager
def whole_file(path: Path) -> Iterator[IO[str]]:
    """Write a text that is there once the block has ended well; raises OSError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            yield file
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
