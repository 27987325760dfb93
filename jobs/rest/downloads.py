"""Streamed downloads: the response is produced while it is sent, never all in memory.

Over WSGI a download occupies a thread until the client has read it; over ASGI only
while a chunk is produced. Both gateways limit the concurrent downloads. If the client
disconnects, production stops after the current chunk.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from uuid import UUID
from weakref import finalize

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from rest_framework.request import Request

from jobs.concurrency import thread_limits
from jobs.errors import ServiceUnavailable

# Shared by all downloads of the process: producing chunks is CPU-bound.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="downloads")


def stream_download(
    request: Request,
    build_chunks: Callable[[], Iterator[bytes]],
    *,
    tenant_id: UUID,
    filename: str,
    content_type: str,
) -> HttpResponse | StreamingHttpResponse:
    """Return a response that streams the chunks; validate the request before.

    Raises ServiceUnavailable if too many downloads are in progress.
    """
    disposition = content_disposition_header(as_attachment=True, filename=filename)
    headers = {"Content-Disposition": disposition or "attachment"}
    if request.method == "HEAD":
        return HttpResponse(headers=headers, content_type=content_type)
    limit = thread_limits.downloads()
    if not limit.acquire(tenant_id):
        message = "Too many downloads are in progress. Retry shortly."
        raise ServiceUnavailable(message)
    inner = request._request  # noqa: SLF001  DRF has no public accessor
    body_type = AsyncStreamedBody if isinstance(inner, ASGIRequest) else StreamedBody
    body = body_type(build_chunks(), on_close=lambda: limit.release(tenant_id))
    # Django would release the connection only after the last byte.
    release_connection()
    # Tells buffering proxies to pass the chunks on at once.
    headers["X-Accel-Buffering"] = "no"
    return StreamingHttpResponse(body, headers=headers, content_type=content_type)


def release_connection() -> None:
    """Close the database connection, except inside a transaction (as in tests)."""
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def brief_connection() -> Iterator[None]:
    """Use a database connection for the block only, not for the whole download."""
    try:
        yield
    finally:
        release_connection()


class _StreamedBody:
    """An iterator of chunks; calls ``on_close`` when closed or garbage-collected."""

    def __init__(
        self, chunks: Iterator[bytes], *, on_close: Callable[[], None]
    ) -> None:
        self._chunks, self._lock = chunks, Lock()
        self._on_close = finalize(self, on_close)

    def close(self) -> None:
        """Stop production; Django calls this when it closes the response."""
        self._on_close()

    def _next(self) -> bytes:
        """Return the next chunk; b"" after the last one or after ``close``."""
        with self._lock:
            return next(self._chunks, b"") if self._on_close.alive else b""


class StreamedBody(_StreamedBody):
    """For WSGI: the sending thread produces each chunk."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks."""
        while chunk := self._next():
            yield chunk


class AsyncStreamedBody(_StreamedBody):
    """For ASGI: chunks are produced off the event loop.

    Without ``__iter__``: Django would treat it as a synchronous iterator.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks."""
        produce = sync_to_async(self._next, thread_sensitive=False, executor=_threads)
        while chunk := await produce():
            yield chunk
