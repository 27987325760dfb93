"""Read a file for sending: hashed, streamed a MiB at a time, and named for good.

The Idempotency-Key of a submission is made of everything it says, the audio's content
among it: the same again is the same request, however often and from wherever it comes.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transcribe_platform.client.errors import FileChanged

CHUNK_BYTES = 1024**2
Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFile:
    """A file as it was when it was read for the first time."""

    path: Path
    size_bytes: int
    sha256: str

    @classmethod
    def read(cls, path: Path, progress: Progress | None = None) -> "AudioFile":
        """Hash the file; raises OSError for one that cannot be read."""
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if progress:
                    progress(len(chunk))
        return cls(path=path, size_bytes=size, sha256=digest.hexdigest())

    def chunks(self, progress: Progress | None = None) -> Iterator[bytes]:
        """Yield its bytes; raises FileChanged, before the last, if they are others."""
        digest, left = hashlib.sha256(), self.size_bytes
        with self.path.open("rb") as file:
            while left and (chunk := file.read(min(CHUNK_BYTES, left))):
                digest.update(chunk)
                left -= len(chunk)
                if not left and digest.hexdigest() != self.sha256:
                    break
                yield chunk
                if progress:
                    progress(len(chunk))
        if digest.hexdigest() != self.sha256:
            raise FileChanged(f"{self.path} changed while it was sent.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A multipart form with one file, of a length that is known before it is sent."""

    fields: Mapping[str, str]
    audio: AudioFile
    boundary: str
    progress: Progress | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Say what comes and how long it is; chunked bodies are not taken."""
        length = len(self._head()) + self.audio.size_bytes + len(self._tail())
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(length),
        }

    def body(self) -> Iterator[bytes]:
        """Yield the form; raises FileChanged if the file is another one by now."""
        yield self._head()
        yield from self.audio.chunks(self.progress)
        yield self._tail()

    def _head(self) -> bytes:
        parts = [
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"'
            f"\r\n\r\n{value}\r\n"
            for name, value in self.fields.items()
        ]
        name = _quoted(self.audio.path.name)
        parts.append(
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        )
        return "".join(parts).encode()

    def _tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()


def build_form(
    fields: Mapping[str, Any], audio: AudioFile, progress: Progress | None = None
) -> Form:
    """Return the form of a submission; what is not text goes as JSON."""
    return Form(
        fields={
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in fields.items()
        },
        audio=audio,
        boundary=f"transcribe-{secrets.token_hex(16)}",
        progress=progress,
    )


def build_key(*said: Any) -> str:
    """Return the Idempotency-Key of a request that says this."""
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return f"c1-{hashlib.sha256(canonical.encode()).hexdigest()}"


def _quoted(name: str) -> str:
    """Return a file name for a header, as browsers write it; any bytes become text."""
    text = os.fsencode(name).decode(errors="replace")
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
