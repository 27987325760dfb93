"""An ASGI handler for Django that reads a request body only when the view needs it.

Django's own handler writes the whole body to a temporary file first
(https://github.com/django/django/blob/5.2.19/django/core/handlers/asgi.py). Here the
view reads from the socket, as over WSGI, after key, scope, method and content type were
accepted. Routes without a body read none. Small bodies of other routes are read into
memory in advance, so that waiting for them blocks no thread.
"""

import asyncio
import io
import json
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from rest_framework.request import Request

from jobs.errors import InvalidRequest, UploadTooLarge
from jobs.parsing.whole_numbers import parse_whole_number
from transcribe_platform.api_errors.exception_handler import handle
from transcribe_platform.middleware.arriving_bodies import ArrivingBody
from transcribe_platform.middleware.static_files import POLICY

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# A body of at most this size is read into memory before the view runs. Of a body that
# no view reads, the same amount is discarded.
SMALL_BYTES = 64 * 1024
# A body without new bytes for this time counts as truncated, as does a small body that
# has not arrived by then.
PAUSE_SECONDS = 60.0
_BODILESS = {"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"}


class LazyBodyHandler(ASGIHandler):
    """Django's ASGI handler with bodies that are read on demand."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; also respond if its body is truncated."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        has_responded = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_responded
            has_responded = True
            await send(message)

        body = RequestBody(scope, receive)
        await super().__call__(scope, body, send_and_note)
        if not has_responded:  # the server would report an application error
            await _send_response(_build_truncated(scope), send)

    async def read_body(self, receive: Any) -> Any:
        """Return the body as a file that reads from the socket."""
        body: RequestBody = receive
        # A client that expects 100 (Continue) waits until the key is accepted.
        is_expected = bool(_header(body.scope, b"expect"))
        if body.is_small and not is_expected and takes_body(body.scope):
            return io.BytesIO(await body.read_all())
        return ArrivingBody(io.BufferedReader(body.open(), SMALL_BYTES), {})

    def create_request(
        self, scope: Message, body_file: Any
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        """Create the request, or the response to one that cannot be served."""
        created = super().create_request(scope, body_file)
        request = created[0]
        if request is None or not isinstance(body_file, ArrivingBody):
            return created
        length = _read_length(scope)
        body_file.begin(request.META, length)
        is_known = math.isfinite(length)
        if scope["method"] in _BODILESS and is_known and length > SMALL_BYTES:
            message = f"A {scope['method']} request must not have a body."
            error = UploadTooLarge(message, code="body_too_large")
            return None, _build_problem(request, error)
        return created


class RequestBody:
    """The ``receive`` callable of a request and the source of its body.

    Django calls it to detect a disconnect while the view runs. The view reads the body
    from its own thread at the same time.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._is_chunked = bool(_header(scope, b"transfer-encoding"))
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._left: float = _read_length(scope)
        self._ended = asyncio.Event()
        self._is_truncated = False
        if self._left <= 0:
            self._ended.set()

    @property
    def is_small(self) -> bool:
        """Whether the whole body may be held in memory."""
        return self._left <= SMALL_BYTES

    async def __call__(self) -> Message:
        """Wait for the disconnect.

        A body that no view reads is discarded; a long one ends the request.
        """
        if self.scope["method"] not in _BODILESS:
            await self._ended.wait()
        if self._is_truncated:
            await asyncio.Event().wait()  # the view detects it and responds
        discarded = 0
        while discarded <= SMALL_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return message
            discarded += len(message.get("body", b""))
        return {"type": "http.disconnect"}

    async def read_all(self) -> bytes:
        """Return a small body, or the part that arrived in time.

        Raises RequestAborted if the client disconnected without sending any of it.
        """
        read = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_SECONDS):
                while chunk := await self.read_more():
                    read += chunk
        if self._is_truncated and not read:
            raise RequestAborted
        return read

    def open(self) -> "_RawBody":
        """Return the body as a stream for the view's thread."""
        return _RawBody(self)

    def fetch(self) -> bytes:
        """Return the next chunk; call it from another thread than the event loop's."""
        if self._left <= 0 or self._is_truncated:
            chunk = b""
        else:
            future = asyncio.run_coroutine_threadsafe(self.read_more(), self._loop)
            chunk = future.result()
        if not chunk and self._is_truncated:
            raise OSError("the body is truncated")
        return chunk

    async def read_more(self) -> bytes:
        """Return the next chunk, empty at the end of the body."""
        while self._left > 0 and not self._is_truncated:
            try:
                async with asyncio.timeout(PAUSE_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                message = {"type": "http.disconnect"}
            chunk: bytes = message.get("body", b"")
            self._left -= len(chunk)
            is_last = not message.get("more_body", False)
            if is_last and message["type"] == "http.request" and self._is_chunked:
                self._left = 0
            self._is_truncated = message["type"] == "http.disconnect" or (
                self._left > 0 and is_last
            )
            if self._left <= 0 or self._is_truncated:
                self._ended.set()
            if chunk:
                return chunk
        return b""


class _RawBody(io.RawIOBase):
    """The body as a raw stream for ``io.BufferedReader``."""

    def __init__(self, body: RequestBody) -> None:
        super().__init__()
        self._body, self._rest = body, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._body.fetch())
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def takes_body(scope: Scope) -> bool:
    """Return whether the route accepts a body with this method."""
    if scope["method"] in _BODILESS:
        return False
    try:
        match = resolve(scope["path"])
    except Resolver404:
        return False
    view = getattr(match.func, "view_class", None)
    if view is None:
        return not getattr(match.func, "csrf_exempt", False)  # admin pages
    return hasattr(view, scope["method"].lower())


def _header(scope: Message, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _read_length(scope: Message) -> float:
    """Return the length of the body, which is infinite if it is chunked."""
    if _header(scope, b"transfer-encoding"):
        return math.inf
    length = _header(scope, b"content-length")
    return parse_whole_number(length.decode("latin-1")) or 0


def _build_truncated(scope: Scope) -> HttpResponse:
    message = "The body is shorter than its Content-Length."
    request = ASGIRequest(scope, io.BytesIO())
    return _build_problem(request, InvalidRequest(message, code="body_truncated"))


def _build_problem(request: ASGIRequest, error: Exception) -> HttpResponse:
    """Build the problem response to a request that no middleware handles."""
    request.META["REQUEST_ID"] = uuid.uuid4().hex
    response = handle(error, {"request": Request(request)}) or HttpResponse(status=400)
    response.headers["X-Request-Id"] = json.loads(response.content)["request_id"]
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = POLICY
    return response


async def _send_response(response: HttpResponse, send: Send) -> None:
    headers = [(n.encode(), v.encode()) for n, v in response.headers.items()]
    start = {"type": "http.response.start", "status": response.status_code}
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
