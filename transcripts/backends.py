"""The seam to whoever transcribes: a Protocol, its request and its result.

``settings.TRANSCRIPTION_BACKEND`` names the class; nothing here knows a vendor.
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
    """An upload; ``open`` gives a fresh file each time it is called."""

    open: Callable[[], IO[bytes]]
    size_bytes: int
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionRequest:
    """One upstream call. ``source`` is a URL the upstream fetches, or an upload.

    The tags name the job and the claim, so that the upstream's own log of requests can
    be held against the ledger.
    """

    region: Region
    source: str | StoredAudio
    options: dict[str, Any]
    tags: tuple[str, ...]
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionResult:
    """An answer: the bytes as they came, what they say, and the upstream's id."""

    raw: bytes
    document: dict[str, Any]
    request_id: str


class TranscriptionBackend(Protocol):
    """Whoever turns audio into a document."""

    def transcribe(self, request: TranscriptionRequest) -> TranscriptionResult:
        """Make one call. Raises UpstreamError, and nothing else, when it fails."""


@cache
def get_backend() -> TranscriptionBackend:
    """Return this process's backend, made at first use (after any fork)."""
    backend: TranscriptionBackend = import_string(settings.TRANSCRIPTION_BACKEND)()
    return backend
