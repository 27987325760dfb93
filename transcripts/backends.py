"""The interface of transcription backends: protocol, request and result.

``settings.TRANSCRIPTION_BACKEND`` names the class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import IO, Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string

from jobs.models import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAudio:
    """An upload; each call of ``open`` returns a new file."""

    open: Callable[[], IO[bytes]]
    size_bytes: int
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionRequest:
    """One upstream call; ``source`` is a URL that the upstream fetches, or an upload.

    The tags identify job and claim, to reconcile the upstream's request log with the
    attempts.
    """

    region: Region
    source: str | StoredAudio
    options: dict[str, Any]
    tags: tuple[str, ...]
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionResult:
    """A response: its bytes, the parsed document and the upstream's request id.

    ``sent_bytes`` and ``sent_type`` describe the uploaded audio, if any.
    """

    raw: bytes
    document: dict[str, Any]
    request_id: str
    sent_bytes: int | None = None
    sent_type: str = ""


class TranscriptionBackend(Protocol):
    """A service that transcribes audio."""

    def transcribe(self, request: TranscriptionRequest) -> TranscriptionResult:
        """Make one call; any failure raises UpstreamError."""


@cache
def get_backend() -> TranscriptionBackend:
    """Return the backend of this process, created on first use (after any fork)."""
    backend: TranscriptionBackend = import_string(settings.TRANSCRIPTION_BACKEND)()
    return backend
