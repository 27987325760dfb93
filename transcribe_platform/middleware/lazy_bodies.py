"""Serve Django over ASGI so that a body is read when a view asks for it, not before.

Django's own ASGI handler writes a whole body to a temporary file before it looks at
the request. Here a view reads the body from the socket, as over WSGI: after the key,
the scope, the method and the content type were accepted. A route that takes no body
reads none. Only small bodies are read in advance, into memory, and only for routes
that take one: waiting for them then costs no thread.
"""

import asyncio
import io
import json
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
from jobs.whole_numbers import parse_whole_number
from transcribe_platform.api_errors.exception_handler import handle
from transcribe_platform.middleware.arriving_bodies import ArrivingBody
from transcribe_platform.middleware.static_files import POLICY

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# A body of at most this size is held in memory before the view runs; of a body that
# no view reads, as much is discarded.
SMALL_BYTES = 64 * 1024
# A body that sends nothing for so long is treated as cut off; so is a small one that
# has not arrived by then.
PAUSE_SECONDS = 60.0
_BODILESS = {"GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"}


class LazyBodyHandler(ASGIHandler):
    """Django's handler, with a body that is read on demand."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; answer it also if its body broke off."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        is_answered = False

        async def watched(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        body = RequestBody(scope, receive)
        await super().__call__(scope, body, watched)
        if not is_answered:  # the server would report an error of the application
            await _answer(_cut_off(scope), send)

    async def read_body(self, receive: Any) -> Any:
        """Return the body as a file that reads from the socket."""
        body: RequestBody = receive
        if body.is_small and takes_body(body.scope):
            return io.BytesIO(await body.read_all())
        return ArrivingBody(io.BufferedReader(body.open(), SMALL_BYTES), {})

    def create_request(
        self, scope: Message, body_file: Any
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        """Create the request, or the answer to one that cannot be served."""
        created = super().create_request(scope, body_file)
        request = created[0]
        if request is None or not isinstance(body_file, ArrivingBody):
            return created
        length = _length_of(scope)
        body_file.begin(request.META, length)
        if scope["method"] in _BODILESS and length > SMALL_BYTES:
            message = f"A {scope['method']} request takes no body."
            error = UploadTooLarge(message, code="body_too_large")
            return None, _refuse(request, error)
        return created


class RequestBody:
    """The socket's end of a request: its body, and later whether the client is there.

    Django calls it to learn of a disconnect while the view runs; the view reads the
    body meanwhile, from its thread.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._left = _length_of(scope)
        self._ended = asyncio.Event()
        self._is_cut = False
        self._is_announced = self._left > 0 or _header(scope, b"transfer-encoding")
        if not self._is_announced:
            self._ended.set()

    @property
    def is_small(self) -> bool:
        """Whether the whole body may be held in memory."""
        return self._left <= SMALL_BYTES

    async def __call__(self) -> Message:
        """Wait for the disconnect; a message of the body is not one.

        A body that no view reads is discarded here; a long one ends the request.
        """
        if self.scope["method"] not in _BODILESS:
            await self._ended.wait()
        if self._is_cut:
            await asyncio.Event().wait()  # the view finds out, and answers
        discarded = 0
        while discarded <= SMALL_BYTES:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return message
            discarded += len(message.get("body", b""))
        return {"type": "http.disconnect"}

    async def read_all(self) -> bytes:
        """Return a small body, or as much of it as came in time.

        Raises RequestAborted if the client left without sending any of it.
        """
        read = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_SECONDS):
                while chunk := await self.read_more():
                    read += chunk
        if self._is_cut and not read:
            raise RequestAborted
        return read

    def open(self) -> "_RawBody":
        """Return the body for a thread to read."""
        return _RawBody(self)

    def fetch(self) -> bytes:
        """Return the next piece; for a thread other than the loop's."""
        if self._left <= 0 or self._is_cut:
            piece = b""
        else:
            more = asyncio.run_coroutine_threadsafe(self.read_more(), self._loop)
            piece = more.result()
        if not piece and self._is_cut:
            raise OSError("the body broke off")
        return piece

    async def read_more(self) -> bytes:
        """Return the next piece, empty at the end of the body."""
        while self._left > 0 and not self._is_cut:
            try:
                async with asyncio.timeout(PAUSE_SECONDS):
                    message = await self._receive()
            except TimeoutError:
                message = {"type": "http.disconnect"}
            piece: bytes = message.get("body", b"")
            self._left -= len(piece)
            self._is_cut = message["type"] == "http.disconnect" or (
                self._left > 0 and not message.get("more_body", False)
            )
            if self._left <= 0 or self._is_cut:
                self._ended.set()
            if piece:
                return piece
        return b""


class _RawBody(io.RawIOBase):
    """What ``io.BufferedReader`` reads a body by."""

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
    """Tell whether the route takes a body with this method."""
    if scope["method"] in _BODILESS:
        return False
    try:
        found = resolve(scope["path"])
    except Resolver404:
        return False
    view = getattr(found.func, "view_class", None)
    if view is None:
        return not getattr(found.func, "csrf_exempt", False)  # pages of the admin
    return hasattr(view, scope["method"].lower())


def _header(scope: Message, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _length_of(scope: Message) -> int:
    """Return the announced length; 0 for none, whose body counts as empty."""
    length = _header(scope, b"content-length")
    return parse_whole_number(length.decode("latin-1")) or 0


def _cut_off(scope: Scope) -> HttpResponse:
    message = "The body is shorter than its Content-Length: the upload was cut."
    request = ASGIRequest(scope, io.BytesIO())
    return _refuse(request, InvalidRequest(message, code="body_truncated"))


def _refuse(request: ASGIRequest, error: Exception) -> HttpResponse:
    """Build the problem of a request that no middleware sees."""
    request.META["REQUEST_ID"] = uuid.uuid4().hex
    response = handle(error, {"request": Request(request)}) or HttpResponse(status=400)
    response.headers["X-Request-Id"] = json.loads(response.content)["request_id"]
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = POLICY
    return response


async def _answer(response: HttpResponse, send: Send) -> None:
    headers = [(n.encode(), v.encode()) for n, v in response.headers.items()]
    start = {"type": "http.response.start", "status": response.status_code}
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
