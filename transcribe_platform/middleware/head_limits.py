"""Limit the size of the request line and headers before Django sees the request.

The limits do not depend on those of servers and proxies in front, which differ. Sizes
are measured without parsing, and no Django request is created above a limit. The same
limits apply to WSGI, ASGI and WebSocket handshakes.
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
from transcribe_platform.api_errors.problem_table import get_title
from transcribe_platform.api_errors.problems import CONTENT_TYPE
from transcribe_platform.middleware.static_files import POLICY

logger = logging.getLogger(__name__)

# In bytes. The longest path of the API has about 100. A query string of /v1/listen may
# have many keyterms and a callback URL of 8,192 characters.
MAX_PATH = 2048
MAX_QUERY = 32 * 1024
MAX_FIELDS = 100
MAX_FIELD = 8192
MAX_ALL_FIELDS = 32 * 1024
# Django parses these in quadratic time, which takes at most 10 ms at this size.
MAX_BY_NAME = {"content-type": 1024, "content-disposition": 1024, "cookie": 4096}
_MAX_NAME_SHOWN = 60
_DENIAL = "websocket.http.response"
_UNPREFIXED = ("CONTENT_TYPE", "CONTENT_LENGTH")
_PREFIX = "HTTP_"

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRejection:
    """The problem of a request whose head is too large."""

    status: HTTPStatus
    code: str
    detail: str

    def build(self) -> tuple[list[tuple[str, str]], bytes]:
        """Return the headers and the body of the problem response."""
        request_id = uuid.uuid4().hex
        problem = {
            "type": f"{settings.BASE_URL}/problems/{self.code}",
            "title": get_title(self.code),
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
        logger.info("request head rejected", extra=extra)
        return headers, body


def check_head(
    *, path: int, query: int, fields: Iterable[tuple[str, int]]
) -> HeadRejection | None:
    """Return the rejection of a head above a limit, else None.

    Lengths are in bytes. ``fields`` are lower-case names and lengths of values.
    """
    if path > MAX_PATH:
        return _reject_uri(f"The path has more than {MAX_PATH:,} bytes.")
    if query > MAX_QUERY:
        return _reject_uri(f"The query string has more than {MAX_QUERY:,} bytes.")
    count = total = 0
    for name, length in fields:
        count, total = count + 1, total + len(name) + length
        limit = MAX_BY_NAME.get(name, MAX_FIELD)
        if len(name) + length > limit:
            shown = name[:_MAX_NAME_SHOWN]
            return _reject_fields(f"The header {shown} has more than {limit:,} bytes.")
        if count > MAX_FIELDS:
            return _reject_fields(
                f"The request has more than {MAX_FIELDS} header fields."
            )
        if total > MAX_ALL_FIELDS:
            message = f"The header fields have more than {MAX_ALL_FIELDS:,} bytes."
            return _reject_fields(message)
    return None


def _reject_uri(detail: str) -> HeadRejection:
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    return HeadRejection(status=status, code="uri_too_long", detail=detail)


def _reject_fields(detail: str) -> HeadRejection:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return HeadRejection(status=status, code="header_fields_too_large", detail=detail)


class WsgiHeadLimits:
    """WSGI middleware that rejects requests whose head is too large."""

    def __init__(self, app: WsgiApp) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Reject the request or call the application."""
        rejection = check_head(
            path=len(environ.get("PATH_INFO", "")),
            query=len(environ.get("QUERY_STRING", "")),
            fields=_measure_fields(environ),
        )
        if rejection is None:
            return self.app(environ, start_response)
        headers, body = rejection.build()
        start_response(f"{rejection.status.value} {rejection.status.phrase}", headers)
        return [body]


def _measure_fields(environ: dict[str, Any]) -> Iterable[tuple[str, int]]:
    for key, value in environ.items():
        if key in _UNPREFIXED and value:
            yield key.lower().replace("_", "-"), len(value)
        elif key.startswith(_PREFIX):
            yield key.removeprefix(_PREFIX).lower().replace("_", "-"), len(value)


class AsgiHeadLimits:
    """ASGI middleware that also rejects WebSocket handshakes."""

    def __init__(self, app: AsgiApp) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Reject the request or call the application."""
        rejection = None
        if scope["type"] in {"http", "websocket"}:
            rejection = check_head(
                path=len(scope.get("raw_path") or scope["path"].encode()),
                query=len(scope.get("query_string", b"")),
                fields=(
                    (bytes(name).decode("latin-1").lower(), len(value))
                    for name, value in scope.get("headers", ())
                ),
            )
        if rejection is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await _send_rejection(rejection, send, "http.response")
        elif (await receive())["type"] == "websocket.connect":
            # Without the extension the server responds 403 to a close.
            if _DENIAL in (scope.get("extensions") or {}):
                await _send_rejection(rejection, send, _DENIAL)
            else:
                await send({"type": "websocket.close"})


async def _send_rejection(rejection: HeadRejection, send: Send, kind: str) -> None:
    headers, body = rejection.build()
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers]
    start = {"type": f"{kind}.start", "status": int(rejection.status)}
    await send({**start, "headers": pairs})
    await send({"type": f"{kind}.body", "body": body})
