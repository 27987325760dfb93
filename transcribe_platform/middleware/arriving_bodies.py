"""Lend only so many threads to bodies that are still arriving.

A read waits for the client, with a thread and, after the key was looked up, a database
connection. So a reader gives the connection back first, and there are only so many
readers, each tenant's share of them bounded (``jobs.concurrency.thread_limits``). Over ASGI the same
holds for every body that is not small (``transcribe_platform.middleware.lazy_bodies``).
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection

from jobs.concurrency import thread_limits
from jobs.errors import ServiceUnavailable
from jobs.whole_numbers import parse_whole_number

# Where the environment tells whose request it is, once that is known.
TENANT = "transcribe.tenant"
App = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ArrivingBodies:
    """Put such a body between the server and the application."""

    def __init__(self, app: App) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve the request; its body gives its place back whatever happens."""
        body = ArrivingBody(environ["wsgi.input"], environ)
        environ["wsgi.input"] = body
        try:
            return self.app(environ, start_response)
        finally:
            body.leave()


class ArrivingBody:
    """A body that takes a place from its first read until the last byte."""

    def __init__(self, stream: Any, environ: dict[str, Any]) -> None:
        length = environ.get("CONTENT_LENGTH") or ""
        self._stream = stream
        self._inside: Any = None
        self.begin(environ, parse_whole_number(length) or 0)

    def begin(self, environ: dict[str, Any], length: int) -> None:
        """Take the environment that names the tenant, and how much is to come."""
        self._environ, self._left = environ, length

    def read(self, size: int = -1) -> bytes:
        """Read on; raises ServiceUnavailable where too many do already."""
        return self._receive(self._stream.read, size)

    def readline(self, size: int = -1) -> bytes:
        """Read a line."""
        return self._receive(self._stream.readline, size)

    def close(self) -> None:
        """End the reading."""
        self.leave()

    def leave(self) -> None:
        """Give the place back, if it has one."""
        if self._inside is not None:
            thread_limits.arriving_bodies().release(self._inside)
            self._inside = None

    def _receive(self, read: Callable[[int], bytes], size: int) -> bytes:
        if self._left > 0 and self._inside is None:
            self._enter()
        chunk = read(size)
        self._left -= len(chunk)
        if self._left <= 0 or not chunk:
            self.leave()
        return chunk

    def _enter(self) -> None:
        # Who has shown no key shares with all others who have not.
        who = self._environ.get(TENANT, "")
        if not thread_limits.arriving_bodies().acquire(who):
            message = "Too many bodies are arriving; send this again shortly."
            raise ServiceUnavailable(message)
        self._inside = who
        if not connection.in_atomic_block:
            connection.close()  # back to the pool
