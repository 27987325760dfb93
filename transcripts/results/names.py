"""Names for the files of an archive that any system can unpack. Pure."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit
from uuid import UUID

# A name has at most 255 bytes on common file systems; the rest is for what follows.
_MAX_BYTES = 180
_UNSAFE = re.compile(r"[^\w.@+=-]+")
# Devices on Windows, with or without an extension.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class FileNames:
    """Gives each file a name of its own, also where upper and lower case are one."""

    def __init__(self, extension: str) -> None:
        self._extension = extension
        self._taken: set[str] = set()

    def choose(self, wish: str, job_id: UUID) -> str:
        """Return a safe name after the wish; the job's id tells equal ones apart."""
        stem = make_safe(wish) or str(job_id)
        number, name = 0, stem
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{job_id}" if number == 1 else f"{stem}-{job_id}-{number}"
        self._taken.add(name.casefold())
        return f"{name}.{self._extension}"


def make_safe(text: str) -> str:
    """Return the text as a file may be called, or nothing if nothing is left of it."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text))
    name = name.encode("utf-8", "ignore")[:_MAX_BYTES].decode("utf-8", "ignore")
    name = name.lstrip(".-").rstrip(".") if name.strip("._-") else ""
    return f"_{name}" if _RESERVED.match(name) else name


def wish_of(*, custom_id: str, filename: str, audio_url: str) -> str:
    """Return what a job's file is best called after."""
    if custom_id:
        return custom_id
    path = filename or unquote(urlsplit(audio_url).path)
    return PurePosixPath(path.replace("\\", "/")).stem
