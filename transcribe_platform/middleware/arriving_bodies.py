"""Limit the threads that read request bodies which have not arrived completely.

Such a read blocks a thread until the client sends more. It therefore returns the
database connection to the pool first, and ``jobs.concurrency.thread_limits`` bounds the
number of readers in total and per tenant. Over ASGI the same limit applies to all but
small bodies (``transcribe_platform.middleware.lazy_bodies``).
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection

from jobs.concurrency import request_slots, thread_limits
from jobs.errors import ServiceUnavailable
from jobs.parsing.whole_numbers import parse_whole_number

# The key of the WSGI environment that holds the tenant's id after authentication.
TENANT = "transcribe.tenant"
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ArrivingBodies:
    """WSGI middleware that replaces the body by an ``ArrivingBody``."""

    def __init__(self, app: App) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Call the application and release the body's slot in any case."""
        body = ArrivingBody(environ["wsgi.input"], environ)
        environ["wsgi.input"] = body
        try:
            return self.app(environ, start_response)
        finally:
            body.leave()


class ArrivingBody:
    """A body that holds a slot from its first read until its last byte."""

    def __init__(self, stream: Any, environ: dict[str, Any]) -> None:
        length = environ.get("CONTENT_LENGTH") or ""
        self._stream = stream
        self._slot: Any = None
        self.begin(environ, parse_whole_number(length) or 0)

    def begin(self, environ: dict[str, Any], length: float) -> None:
        """Set the environment that will name the tenant, and the bytes to come.

        ``length`` is infinite if it is unknown.
        """
        self._environ, self._left = environ, length

    def read(self, size: int = -1) -> bytes:
        """Read bytes; raises ServiceUnavailable if there are too many readers."""
        return self._receive(self._stream.read, size)

    def readline(self, size: int = -1) -> bytes:
        """Read a line; raises ServiceUnavailable if there are too many readers."""
        return self._receive(self._stream.readline, size)

    def close(self) -> None:
        """Release the slot."""
        self.leave()

    def leave(self) -> None:
        """Release the slot, if the body holds one."""
        if self._slot is not None:
            thread_limits.arriving_bodies().release(self._slot)
            self._slot = None

    def _receive(self, read: Callable[[int], bytes], size: int) -> bytes:
        if self._left > 0 and self._slot is None:
            self._enter()
        chunk = read(size)
        self._left -= len(chunk)
        if self._left <= 0 or not chunk:
            self.leave()
        return chunk

    def _enter(self) -> None:
        # Requests without a key share one tenant's part of the slots.
        tenant = self._environ.get(TENANT, "")
        if not thread_limits.arriving_bodies().acquire(tenant):
            message = "Too many request bodies are arriving. Retry shortly."
            raise ServiceUnavailable(message)
        self._slot = tenant
        request_slots.release()
        if not connection.in_atomic_block:
            connection.close()  # returns it to the pool
