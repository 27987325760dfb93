"""Answers that are made while they are sent: as long as a batch, never all in memory.

They work from both gateways. Over WSGI one holds a thread for as long as its client
reads, over ASGI only while a piece is made; either way a process serves few of them at
once. Whoever hangs up ends the making, after the piece that is in the making.
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

# Of the event loop's process: making is work for the processor.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="downloads")


def respond(
    request: Request,
    pieces: Callable[[], Iterator[bytes]],
    *,
    tenant_id: UUID,
    filename: str,
    content_type: str,
) -> HttpResponse | StreamingHttpResponse:
    """Answer with what the function yields; all that can be refused was refused before.

    Raises ServiceUnavailable if too many are being sent.
    """
    named = content_disposition_header(as_attachment=True, filename=filename)
    headers = {"Content-Disposition": named or "attachment"}
    if request.method == "HEAD":
        return HttpResponse(headers=headers, content_type=content_type)
    gate = thread_limits.downloads()
    if not gate.acquire(tenant_id):
        message = "Too many downloads are under way; ask again shortly."
        raise ServiceUnavailable(message)
    inner = request._request  # noqa: SLF001  DRF offers no other way
    kind = AsyncStreamedBody if isinstance(inner, ASGIRequest) else StreamedBody
    body = kind(pieces(), then=lambda: gate.release(tenant_id))
    # Django would give it back when the last byte is sent.
    give_back()
    # Proxies that gather an answer before they pass it on are asked not to.
    headers["X-Accel-Buffering"] = "no"
    return StreamingHttpResponse(body, headers=headers, content_type=content_type)


def give_back() -> None:
    """Give the database connection back; a test's transaction keeps it."""
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def borrowed() -> Iterator[None]:
    """Have a connection for the block only, not for as long as somebody reads."""
    try:
        yield
    finally:
        give_back()


class _StreamedBody:
    """Pieces in the making; ends it, and says so, when it ends or is let go."""

    def __init__(self, pieces: Iterator[bytes], *, then: Callable[[], None]) -> None:
        self._pieces, self._lock = pieces, Lock()
        self._then = finalize(self, then)

    def close(self) -> None:
        """End the making; Django calls it with the response's own."""
        self._then()

    def _next(self) -> bytes:
        """Make the next piece; nothing after the last one, or once it was let go."""
        with self._lock:
            return next(self._pieces, b"") if self._then.alive else b""


class StreamedBody(_StreamedBody):
    """Over WSGI: each piece is made by the thread that sends it."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces."""
        while piece := self._next():
            yield piece


class AsyncStreamedBody(_StreamedBody):
    """Over ASGI: the event loop never waits for one.

    Django takes what has ``__iter__`` for the other kind.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        make = sync_to_async(self._next, thread_sensitive=False, executor=_threads)
        while piece := await make():
            yield piece
