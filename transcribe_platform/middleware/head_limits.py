"""Limit the size of a request's head, before anything else looks at the request.

Servers and proxies in front have limits of their own, each another; what the platform
promises does not depend on them. The head is measured, not parsed: no Django request is
made for one that is too large. The same limits hold over WSGI, over ASGI and for the
handshake of a WebSocket.
"""

import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.conf import settings

from jobs.telemetry import tracing
from transcribe_platform.api_errors.problem_table import title_of
from transcribe_platform.api_errors.problems import CONTENT_TYPE
from transcribe_platform.middleware.static_files import POLICY

logger = logging.getLogger(__name__)

# In bytes. The longest path of the API has about 100; a query of /v1/listen may hold
# many keyterms and a callback URL of 8,192 characters.
MAX_PATH = 2048
MAX_QUERY = 32 * 1024
MAX_FIELDS = 100
MAX_FIELD = 8192
MAX_ALL_FIELDS = 32 * 1024
# Django reads these in quadratic time: at this size that is at most about 10 ms.
MAX_BY_NAME = {"content-type": 1024, "content-disposition": 1024, "cookie": 4096}
_MAX_SHOWN = 60
_DENIAL = "websocket.http.response"
_UNPREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")
_PREFIX = "HTTP_"

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a head is too large."""

    status: HTTPStatus
    code: str
    detail: str

    def build(self) -> tuple[list[tuple[str, str]], bytes]:
        """Return the headers and the body of the answer, as for any problem."""
        request_id = uuid.uuid4().hex
        problem = {
            "type": f"{settings.BASE_URL}/problems/{self.code}",
            "title": title_of(self.code),
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            "trace_id": tracing.build_context().trace_id,
        }
        body = json.dumps(problem).encode()
        headers = [
            ("Content-Type", CONTENT_TYPE),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Request-Id", request_id),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", POLICY),
        ]
        extra = {"code": self.code, "request_id": request_id}
        logger.info("request head refused", extra=extra)
        return headers, body


def check_head(
    *, path: int, query: int, fields: Iterable[tuple[str, int]]
) -> Refusal | None:
    """Return why a head is refused, None for one within the limits.

    Takes lengths in bytes; ``fields`` are names in lower case and lengths of values.
    """
    if path > MAX_PATH:
        return _too_long(f"The path has more than {MAX_PATH:,} bytes.")
    if query > MAX_QUERY:
        return _too_long(f"The query string has more than {MAX_QUERY:,} bytes.")
    number = total = 0
    for name, length in fields:
        number, total = number + 1, total + len(name) + length
        most = MAX_BY_NAME.get(name, MAX_FIELD)
        if len(name) + length > most:
            shown = name[:_MAX_SHOWN]
            return _too_large(f"The header {shown} has more than {most:,} bytes.")
        if number > MAX_FIELDS:
            return _too_large(f"There are more than {MAX_FIELDS} header fields.")
        if total > MAX_ALL_FIELDS:
            message = f"All header fields have more than {MAX_ALL_FIELDS:,} bytes."
            return _too_large(message)
    return None


def _too_long(detail: str) -> Refusal:
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    return Refusal(status=status, code="uri_too_long", detail=detail)


def _too_large(detail: str) -> Refusal:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return Refusal(status=status, code="header_fields_too_large", detail=detail)


class WsgiHeadLimits:
    """Answer requests whose head is too large; hand on the others."""

    def __init__(self, app: WsgiApp) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve the request."""
        refusal = check_head(
            path=len(environ.get("PATH_INFO", "")),
            query=len(environ.get("QUERY_STRING", "")),
            fields=_fields_of(environ),
        )
        if refusal is None:
            return self.app(environ, start_response)
        headers, body = refusal.build()
        start_response(f"{refusal.status.value} {refusal.status.phrase}", headers)
        return [body]


def _fields_of(environ: dict[str, Any]) -> Iterable[tuple[str, int]]:
    for key, value in environ.items():
        if key in _UNPREFIXED and value:
            yield key.lower().replace("_", "-"), len(value)
        elif key.startswith(_PREFIX):
            yield key.removeprefix(_PREFIX).lower().replace("_", "-"), len(value)


class AsgiHeadLimits:
    """The same over ASGI, also for the handshake of a WebSocket."""

    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve the request or socket."""
        refusal = None
        if scope["type"] in {"http", "websocket"}:
            refusal = check_head(
                path=len(scope.get("raw_path") or scope["path"].encode()),
                query=len(scope.get("query_string", b"")),
                fields=(
                    (bytes(name).decode("latin-1").lower(), len(value))
                    for name, value in scope.get("headers", ())
                ),
            )
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _answer(refusal, send, "http.response")
        elif (await receive())["type"] == "websocket.connect":
            # A server without the extension answers 403 by itself.
            if _DENIAL in (scope.get("extensions") or {}):
                await _answer(refusal, send, _DENIAL)
            else:
                await send({"type": "websocket.close"})


async def _answer(refusal: Refusal, send: Send, kind: str) -> None:
    headers, body = refusal.build()
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers]
    start = {"type": f"{kind}.start", "status": int(refusal.status)}
    await send({**start, "headers": pairs})
    await send({"type": f"{kind}.body", "body": body})
