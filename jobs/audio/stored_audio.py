"""Open the uploaded audio of a job and read it in chunks."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from weakref import finalize

from asgiref.sync import sync_to_async
from django.core.files.storage import default_storage

from jobs.audio.byte_ranges import ByteRange
from jobs.errors import Erased, NotFound
from jobs.models import Job

CHUNK_BYTES = 256 * 1024
# Types that browsers play and do not render as a page.
_PLAYABLE = ("audio/", "video/", "application/ogg", "application/mp4")
UNKNOWN_TYPE = "application/octet-stream"


def open_audio(job: Job) -> Any:
    """Open a job's upload.

    Raises Erased, and NotFound (``audio_not_stored``) for audio at a URL or from a
    live session, and if the object is missing in storage.
    """
    if job.erased_at:
        raise Erased
    if not job.upload:
        message = "This job's audio was not uploaded, so it is not stored."
        raise NotFound(message, code="audio_not_stored")
    try:
        return default_storage.open(job.upload)
    except FileNotFoundError as error:
        message = "The audio is no longer in storage."
        raise NotFound(message, code="audio_not_stored") from error


def choose_media_type(job: Job) -> str:
    """Return the upload's media type if browsers play it, else ``UNKNOWN_TYPE``."""
    media_type = job.content_type.partition(";")[0].strip().lower()
    return media_type if media_type.startswith(_PLAYABLE) else UNKNOWN_TYPE


class _AudioChunks:
    """Reads a range of an open file; closes it and calls ``then`` when it is done."""

    def __init__(self, file: Any, part: ByteRange, *, then: Callable[[], None]) -> None:
        self._file, self._left = file, part.length
        file.seek(part.start)
        self._close = finalize(self, _close_file, file, then)

    def close(self) -> None:
        """Close the file; Django calls this when it closes the response."""
        self._close()

    def _read(self) -> bytes:
        chunk: bytes = self._file.read(min(self._left, CHUNK_BYTES))
        self._left -= len(chunk)
        return chunk


class AudioChunks(_AudioChunks):
    """A response body for WSGI."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks; each is read when it is needed."""
        while chunk := self._read():
            yield chunk


class AsyncAudioChunks(_AudioChunks):
    """A response body for ASGI: reads in threads, so the event loop never blocks.

    Has no ``__iter__``, because Django would treat it as synchronous.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks; each is read in a thread."""
        read = sync_to_async(self._read, thread_sensitive=False)
        while chunk := await read():
            yield chunk


def _close_file(file: Any, then: Callable[[], None]) -> None:
    file.close()
    then()
