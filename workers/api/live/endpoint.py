"""The ASGI endpoint of WebSocket routes: a handshake through Django, then a session.

A rejected handshake returns the usual HTTP status and problem body. Scripts in a page
cannot read these, so a page's socket is accepted and closed with an error message.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from django.urls import Resolver404, resolve

from jobs.telemetry import log_context, tracing
from workers.api.live.counters import COUNTERS
from workers.api.live.handshake import SCOPE, Handshake, OpenedSession
from workers.api.live.registry import get_registry
from workers.api.live.session import CLOSE_SECONDS, LiveSession
from workers.api.live.socket import (
    ClientDisconnected,
    ClientSocket,
    Message,
    Receive,
    Send,
)
from workers.api.live.wire_format import MessageKind, PlatformWireFormat, ServerMessage

logger = logging.getLogger(__name__)

App = Callable[[Message, Receive, Send], Awaitable[None]]
DENIAL = "websocket.http.response"
# The close codes by HTTP status of the problem.
CLOSE_CODES = {400: 4400, 401: 4401, 403: 4403, 410: 4403, 429: 4429, 503: 4503}
# Concurrent handshakes: each uses a thread and a pooled connection. When many clients
# reconnect at once, the others wait and are not rejected.
HANDSHAKES = 8
HANDSHAKES_PER_CALLER = 4
MAX_KNOWN_KEYS = 10_000
_SERVER_ERROR = 1011
_SCHEMES = {"ws": "http", "wss": "https"}
_HOP_BY_HOP = {b"content-length", b"content-type", b"connection"}


@dataclass(slots=True)
class HandshakeResponse:
    """Django's response."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class HandshakeQueue:
    """Limits concurrent handshakes, in total and per caller.

    A caller is a tenant after a successful handshake with the same key. Before that the
    key is not verified, so it is compared as sent.
    """

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(HANDSHAKES)
        self._callers: WeakValueDictionary[Hashable, asyncio.Semaphore]
        self._callers = WeakValueDictionary()
        self._tenants: dict[bytes, UUID] = {}

    @asynccontextmanager
    async def enter(self, scope: Message, handshake: Handshake) -> AsyncIterator[None]:
        """Run the block when a slot is free; store the tenant of a successful one."""
        key = _get_key(scope)
        caller: Hashable = self._tenants.get(key, key)
        own = self._callers.get(caller)
        if own is None:
            own = self._callers[caller] = asyncio.Semaphore(HANDSHAKES_PER_CALLER)
        async with own, self._all:
            yield
        if handshake.opened:
            if len(self._tenants) >= MAX_KNOWN_KEYS:
                self._tenants.clear()
            self._tenants[key] = handshake.opened.job.tenant_id


def _get_key(scope: Message) -> bytes:
    """Return the raw key, or the query string, which may contain a ticket.

    Without the rest of the header, whose variations would make one caller many.
    """
    for name, value in scope.get("headers", ()):
        if name == b"authorization":
            return (bytes(value).split() or [b""])[-1]
    offered: list[str] = scope.get("subprotocols") or []
    if len(offered) > 1:
        return offered[1].encode()
    return bytes(scope.get("query_string", b""))


_handshakes = HandshakeQueue()


async def serve(scope: Message, receive: Receive, send: Send, *, django: App) -> None:
    """Run the handshake, then the session or the rejection."""
    if (await receive())["type"] != "websocket.connect":
        return
    handshake, response = Handshake(), HandshakeResponse(status=404)
    if _is_socket_path(scope["path"]):
        try:
            async with _handshakes.enter(scope, handshake):
                response = await _call_django(django, scope, handshake)
        except Exception:
            logger.exception("handshake failed")
            response = HandshakeResponse()
    if handshake.opened is None:
        COUNTERS.refused += 1
        await _reject(scope, ClientSocket(receive, send), send, handshake, response)
        return
    await _run(handshake.opened, ClientSocket(receive, send), response)


async def _run(
    opened: OpenedSession, socket: ClientSocket, response: HandshakeResponse
) -> None:
    registry = get_registry()
    session = LiveSession(opened, socket)
    registry.enter(opened.job.pk, session)
    COUNTERS.sessions += 1
    COUNTERS.opened += 1
    try:
        headers = [pair for pair in response.headers if pair[0] not in _HOP_BY_HOP]
        try:
            await socket.accept(opened.subprotocol, headers)
        except ClientDisconnected:
            logger.info("client disconnected during the handshake")
        with _traced(opened):
            await session.run()
    finally:
        COUNTERS.sessions -= 1
        registry.leave(opened.job.tenant_id, opened.job.pk)


@contextmanager
def _traced(opened: OpenedSession) -> Iterator[None]:
    """Run in a span of the job's trace, which the session's tasks inherit."""
    job = opened.job
    with (
        log_context.adding(**log_context.fields_of(job)),
        tracing.joined(job.traceparent),
        tracing.span(
            "live session",
            kind=tracing.SpanRole.SERVER,
            transcription__job_id=str(job.pk),
            transcription__mode=job.mode,
        ),
    ):
        yield


def _is_socket_path(path: str) -> bool:
    """Return whether the path's view accepts WebSockets."""
    try:
        view = getattr(resolve(path).func, "view_class", None)
    except Resolver404:
        return False
    return bool(getattr(view, "is_socket", False))


async def _call_django(
    django: App, scope: Message, handshake: Handshake
) -> HandshakeResponse:
    """Send the handshake through Django as a GET request."""
    response, was_read = HandshakeResponse(), False

    async def receive() -> Message:
        nonlocal was_read
        if was_read:
            await asyncio.Event().wait()
        was_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            response.headers = [
                (bytes(name).lower(), bytes(value))
                for name, value in message.get("headers", ())
            ]
        else:
            response.body += message.get("body", b"")

    request: dict[str, Any] = {
        **scope,
        "type": "http",
        "method": "GET",
        "scheme": _SCHEMES.get(scope.get("scheme", "ws"), "http"),
        SCOPE: handshake,
    }
    await django(request, receive, send)
    return response


async def _reject(
    scope: Message,
    socket: ClientSocket,
    send: Send,
    handshake: Handshake,
    response: HandshakeResponse,
) -> None:
    if handshake.is_page:
        await _reject_page(socket, response)
    elif DENIAL in (scope.get("extensions") or {}):
        start = {"type": f"{DENIAL}.start", "status": response.status}
        headers = [pair for pair in response.headers if pair[0] != b"content-length"]
        await send({**start, "headers": headers})
        await send({"type": f"{DENIAL}.body", "body": response.body})
    else:
        await send({"type": "websocket.close"})


async def _reject_page(socket: ClientSocket, response: HandshakeResponse) -> None:
    code = CLOSE_CODES.get(response.status, _SERVER_ERROR)
    try:
        problem = json.loads(response.body)
        error = {"code": problem["code"], "detail": problem["detail"]}
    except (ValueError, KeyError):
        error = {"code": "server_error", "detail": ""}
    text = PlatformWireFormat().encode(ServerMessage(MessageKind.ERROR, error))
    try:
        await socket.accept(None)
        await socket.send(text or "")
    except ClientDisconnected:
        return
    await socket.close(code, error["code"], within=CLOSE_SECONDS)
