"""Refuse over ASGI, by its head, a body that must not be read.

Django's ASGI handler spools the whole body to disk before anything looks at the
request, its key included. Over WSGI it streams, and nothing here is needed.
"""

import io
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.urls import Resolver404, resolve
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotAuthenticated,
)
from rest_framework.request import Request

from jobs.errors import (
    InvalidRequest,
    LimitExceeded,
    PlatformError,
    UploadTooLarge,
)
from jobs.uploads import FORM_OVERHEAD_BYTES
from jobs.whole_numbers import parse_whole_number
from transcribe_platform.exception_handler import handle
from transcribe_platform.static_files import POLICY
from transcribe_platform.throttling import GuardedAuthentication

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[..., Awaitable[None]]


class BodyGuard:
    """Let small bodies pass, and large ones of those who have a key."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a body that is not wanted, or hand the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = ASGIRequest(scope, io.BytesIO())
        announced = request.META.get("CONTENT_LENGTH", "")
        length = parse_whole_number(announced)
        refusal = None
        if length is not None and length > settings.JSON_MAX_BYTES:
            refusal = await sync_to_async(_refuse, thread_sensitive=False)(
                request, length
            )
        if refusal is None:
            watched = _Watched(
                receive, send, cap=None if length else settings.JSON_MAX_BYTES
            )
            await self.app(scope, watched.receive, watched.send)
            # Django goes without a word when a body breaks off; the server in front
            # would call that an error of ours.
            refusal = None if watched.is_answered else _broken_off(request, watched)
        if refusal is not None:
            await _answer(refusal, send)


def _refuse(request: ASGIRequest, length: int) -> HttpResponse | None:
    """Return the problem that a large body meets: its size, its kind, its key."""
    request.META["REQUEST_ID"] = uuid.uuid4().hex
    view = _find_view(request)
    asked = Request(request, parser_context={"view": view})
    try:
        _check(asked, length, view=view)
    except (UploadTooLarge, LimitExceeded, APIException) as error:
        if isinstance(error, NotAuthenticated | AuthenticationFailed):
            error.auth_header = "Bearer"  # type: ignore[union-attr]
        problem = handle(error, {"request": asked})
        translate = getattr(view, "translate", None)
        return translate(problem) if translate else problem
    return None


def _find_view(request: ASGIRequest) -> Any:
    """Return the class that would answer, if there is one."""
    try:
        found = resolve(request.path_info)
    except Resolver404:
        return None
    return getattr(found.func, "view_class", None)


def _check(asked: Request, length: int, *, view: Any) -> None:
    takes_audio = getattr(view, "takes_raw_audio", False)
    kind = asked.content_type.partition(";")[0].strip().lower()
    is_raw = kind in getattr(view, "raw_types", ())
    overhead = 0 if takes_audio or is_raw else FORM_OVERHEAD_BYTES
    if length > _max_bytes(view) + overhead:
        raise UploadTooLarge
    is_form = kind == "multipart/form-data"
    is_raw_audio = takes_audio and kind != "application/json"
    if not (is_form or is_raw or is_raw_audio):
        raise UploadTooLarge(code="body_too_large")
    if GuardedAuthentication().authenticate(asked) is None:
        raise NotAuthenticated


def _max_bytes(view: Any) -> int:
    """Return how large the file of an upload to this view may be."""
    limit: int = getattr(view, "raw_max_bytes", 0) or settings.UPLOAD_MAX_BYTES
    return limit


def _broken_off(request: ASGIRequest, watched: "_Watched") -> HttpResponse | None:
    """Return the problem of a body that ended early, or where it had to end."""
    request.META["REQUEST_ID"] = uuid.uuid4().hex
    message = "The body is shorter than its Content-Length: the upload was cut."
    error: PlatformError = InvalidRequest(message, code="body_truncated")
    if watched.is_spent:
        error = UploadTooLarge(code="body_too_large")
    return handle(error, {"request": Request(request)})


class _Watched:
    """A request's two ends: ends a body at its cap, sees whether it was answered."""

    def __init__(self, receive: Receive, send: Send, *, cap: int | None) -> None:
        self._receive, self._send, self._left = receive, send, cap
        self.is_answered = False

    @property
    def is_spent(self) -> bool:
        """Whether the body was longer than one without a length may be."""
        return self._left is not None and self._left < 0

    async def receive(self) -> Message:
        """Hand on what comes, and no more than the cap."""
        message = await self._receive()
        if self._left is not None:
            self._left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.is_spent else message

    async def send(self, message: Message) -> None:
        """Hand on what is answered."""
        self.is_answered = True
        await self._send(message)


async def _answer(response: HttpResponse, send: Send) -> None:
    response.headers["X-Request-Id"] = json.loads(response.content)["request_id"]
    response.headers["X-Content-Type-Options"] = "nosniff"  # no middleware saw it
    response.headers["Content-Security-Policy"] = POLICY
    headers = [(n.encode(), v.encode()) for n, v in response.headers.items()]
    start = {"type": "http.response.start", "status": response.status_code}
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
