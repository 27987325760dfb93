"""Hashes and streams files, 1 MiB at a time.

The Idempotency-Key of a submission is a hash of all its parameters and the audio's
content, so an equal submission from anywhere is the same request.
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
    """A file with its size and hash when it was first read."""

    path: Path
    size_bytes: int
    sha256: str

    @classmethod
    def read(cls, path: Path, progress: Progress | None = None) -> "AudioFile":
        """Hash the file; raises OSError."""
        digest, size = hashlib.sha256(), 0
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if progress:
                    progress(len(chunk))
        return cls(path=path, size_bytes=size, sha256=digest.hexdigest())

    def chunks(self, progress: Progress | None = None) -> Iterator[bytes]:
        """Yield the bytes; raises FileChanged before the last chunk if they changed."""
        digest, remaining = hashlib.sha256(), self.size_bytes
        with self.path.open("rb") as file:
            while remaining and (chunk := file.read(min(CHUNK_BYTES, remaining))):
                digest.update(chunk)
                remaining -= len(chunk)
                if not remaining and digest.hexdigest() != self.sha256:
                    break
                yield chunk
                if progress:
                    progress(len(chunk))
        if digest.hexdigest() != self.sha256:
            raise FileChanged(f"{self.path} changed during the upload.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A multipart form with one file and a known length."""

    fields: Mapping[str, str]
    audio: AudioFile
    boundary: str
    progress: Progress | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return type and length; the API requires a Content-Length."""
        length = len(self._head()) + self.audio.size_bytes + len(self._tail())
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(length),
        }

    def body(self) -> Iterator[bytes]:
        """Yield the form; raises FileChanged."""
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
    """Return the form of a submission; other values than text are sent as JSON."""
    return Form(
        fields={
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in fields.items()
        },
        audio=audio,
        boundary=f"transcribe-{secrets.token_hex(16)}",
        progress=progress,
    )


def build_key(*parts: Any) -> str:
    """Return the Idempotency-Key of a request with these parts."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return f"c1-{hashlib.sha256(canonical.encode()).hexdigest()}"


def _quoted(name: str) -> str:
    """Return a file name for Content-Disposition, escaped as in the HTML standard."""
    text = os.fsencode(name).decode(errors="replace")
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
