"""File names in an archive that are valid on every operating system. Pure."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import UUID

# Common file systems allow 255 bytes; the rest is for suffixes.
_MAX_BYTES = 180
_UNSAFE = re.compile(r"[^\w.@+=-]+")
# Windows device names, with or without an extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class FileNames:
    """Assigns names that are unique, also on case-insensitive file systems."""

    def __init__(self, extension: str) -> None:
        self._extension = extension
        self._used: set[str] = set()

    def choose(self, preferred: str, job_id: UUID) -> str:
        """Return a safe, unique name; duplicates get the job id as suffix."""
        stem = make_safe(preferred) or str(job_id)
        number, name = 0, stem
        while name.casefold() in self._used:
            number += 1
            name = f"{stem}-{job_id}" if number == 1 else f"{stem}-{job_id}-{number}"
        self._used.add(name.casefold())
        return f"{name}.{self._extension}"


def make_safe(text: str) -> str:
    """Return the text as a valid file name; "" if no valid character is left."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text))
    name = name.encode("utf-8", "ignore")[:_MAX_BYTES].decode("utf-8", "ignore")
    name = name.lstrip(".-").rstrip(".") if name.strip("._-") else ""
    return f"_{name}" if _RESERVED.match(name) else name


def choose_stem(*, custom_id: str, filename: str, audio_url: str) -> str:
    """Return the preferred file name of a job, without extension."""
    if custom_id:
        return custom_id
    path = filename or unquote(urlsplit(audio_url).path)
    return PurePosixPath(path.replace("\\", "/")).stem
