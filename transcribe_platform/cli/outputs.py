"""Where transcripts go: files that are whole or not there, or stdout."""

import os
from pathlib import Path, PurePosixPath

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
