"""The audio that was uploaded for a job: find it, and read it piece by piece."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from weakref import finalize

from asgiref.sync import sync_to_async
from django.core.files.storage import default_storage

from jobs.audio.byte_ranges import ByteRange
from jobs.errors import Erased, NotFound
from jobs.models import Job

PIECE_BYTES = 256 * 1024
# What browsers play and what they do not take for a page.
_PLAYED = ("audio/", "video/", "application/ogg", "application/mp4")
UNKNOWN_TYPE = "application/octet-stream"


def open_audio(job: Job) -> Any:
    """Open a job's upload.

    Raises Erased, and NotFound (``audio_not_stored``) where the audio is at the
    customer's URL, came through a socket, or is gone from storage.
    """
    if job.erased_at:
        raise Erased
    if not job.upload:
        message = "This job's audio was not uploaded, so it is not here."
        raise NotFound(message, code="audio_not_stored")
    try:
        return default_storage.open(job.upload)
    except FileNotFoundError as error:
        message = "The audio is not in storage any more."
        raise NotFound(message, code="audio_not_stored") from error


def media_type_of(job: Job) -> str:
    """Return what the uploader called it, if it is of a kind that is played."""
    kind = job.content_type.partition(";")[0].strip().lower()
    return kind if kind.startswith(_PLAYED) else UNKNOWN_TYPE


class _AudioChunks:
    """Part of an open file; closes it, and says so, when it ends or is let go."""

    def __init__(self, file: Any, part: ByteRange, *, then: Callable[[], None]) -> None:
        self._file, self._left = file, part.length
        file.seek(part.start)
        self._close = finalize(self, _end, file, then)

    def close(self) -> None:
        """Close the file; Django calls it with the response's own."""
        self._close()

    def _read(self) -> bytes:
        piece: bytes = self._file.read(min(self._left, PIECE_BYTES))
        self._left -= len(piece)
        return piece


class AudioChunks(_AudioChunks):
    """The body of an answer over WSGI."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces, each read when it is asked for."""
        while piece := self._read():
            yield piece


class AsyncAudioChunks(_AudioChunks):
    """The body of an answer over ASGI: the event loop never waits for a disk.

    Django takes what has ``__iter__`` for the other kind.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces, each read in a thread."""
        read = sync_to_async(self._read, thread_sensitive=False)
        while piece := await read():
            yield piece


def _end(file: Any, then: Callable[[], None]) -> None:
    file.close()
    then()
