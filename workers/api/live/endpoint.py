"""The ASGI end of the live doors: a handshake through Django, then a session.

A refusal is answered as HTTP, with the problem that any request would get. A page's
script is shown nothing of that, so a page is let in to be told: one error, and a code.
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
from workers.api.live.session import GOODBYE_SECONDS, LiveSession
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
# By the status that the problem would have had.
CLOSE_CODES = {400: 4400, 401: 4401, 403: 4403, 410: 4403, 429: 4429, 503: 4503}
# At once, as each takes a thread and a connection of the pool: when all who were
# elsewhere come here, the others wait instead of being refused for want of one.
HANDSHAKES = 8
HANDSHAKES_PER_CALLER = 4
MAX_KNOWN_KEYS = 10_000
_SERVER_ERROR = 1011
_SCHEMES = {"ws": "http", "wss": "https"}
_HOP_BY_HOP = {b"content-length", b"content-type", b"connection"}


@dataclass(slots=True)
class HandshakeResponse:
    """What Django said."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class HandshakeQueue:
    """Limits how many handshakes run at once, in all and for one caller.

    A caller is a tenant once one of its handshakes with the same key succeeded. Before
    that the key is not verified yet, so it is compared as it was sent.
    """

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(HANDSHAKES)
        self._callers: WeakValueDictionary[Hashable, asyncio.Semaphore]
        self._callers = WeakValueDictionary()
        self._tenants: dict[bytes, UUID] = {}

    @asynccontextmanager
    async def enter(self, scope: Message, shake: Handshake) -> AsyncIterator[None]:
        """Wait for a place; remember the tenant if the handshake succeeds meanwhile."""
        key = _key_of(scope)
        caller: Hashable = self._tenants.get(key, key)
        own = self._callers.get(caller)
        if own is None:
            own = self._callers[caller] = asyncio.Semaphore(HANDSHAKES_PER_CALLER)
        async with own, self._all:
            yield
        if shake.opened:
            if len(self._tenants) >= MAX_KNOWN_KEYS:
                self._tenants.clear()
            self._tenants[key] = shake.opened.job.tenant_id


def _key_of(scope: Message) -> bytes:
    """Return the key that will be read, or the query, which may hold a ticket.

    The key alone: what may stand around it in the header would make one caller many.
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
    """Let a socket in and run its session, or refuse it."""
    if (await receive())["type"] != "websocket.connect":
        return
    shake, answer = Handshake(), HandshakeResponse(status=404)
    if _leads_to_socket(scope["path"]):
        try:
            async with _handshakes.enter(scope, shake):
                answer = await _ask(django, scope, shake)
        except Exception:
            logger.exception("handshake failed")
            answer = HandshakeResponse()
    if shake.opened is None:
        COUNTERS.refused += 1
        await _refuse(scope, ClientSocket(receive, send), send, shake, answer)
        return
    await _run(shake.opened, ClientSocket(receive, send), answer)


async def _run(
    opened: OpenedSession, socket: ClientSocket, answer: HandshakeResponse
) -> None:
    registry = get_registry()
    session = LiveSession(opened, socket)
    registry.enter(opened.job.pk, session)
    COUNTERS.sessions += 1
    COUNTERS.opened += 1
    try:
        headers = [pair for pair in answer.headers if pair[0] not in _HOP_BY_HOP]
        try:
            await socket.accept(opened.subprotocol, headers)
        except ClientDisconnected:
            logger.info("client gone in its handshake")
        with _traced(opened):
            await session.run()
    finally:
        COUNTERS.sessions -= 1
        registry.leave(opened.job.tenant_id, opened.job.pk)


@contextmanager
def _traced(opened: OpenedSession) -> Iterator[None]:
    """Work for the job's trace; the session's tasks inherit it."""
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


def _leads_to_socket(path: str) -> bool:
    """Tell whether a view there opens sockets: others are not for asking by one."""
    try:
        view = getattr(resolve(path).func, "view_class", None)
    except Resolver404:
        return False
    return bool(getattr(view, "is_socket", False))


async def _ask(django: App, scope: Message, shake: Handshake) -> HandshakeResponse:
    """Have Django answer the request that a handshake is."""
    answer, was_read = HandshakeResponse(), False

    async def receive() -> Message:
        nonlocal was_read
        if was_read:
            await asyncio.Event().wait()
        was_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [
                (bytes(name).lower(), bytes(value))
                for name, value in message.get("headers", ())
            ]
        else:
            answer.body += message.get("body", b"")

    request: dict[str, Any] = {
        **scope,
        "type": "http",
        "method": "GET",
        "scheme": _SCHEMES.get(scope.get("scheme", "ws"), "http"),
        SCOPE: shake,
    }
    await django(request, receive, send)
    return answer


async def _refuse(
    scope: Message,
    socket: ClientSocket,
    send: Send,
    shake: Handshake,
    answer: HandshakeResponse,
) -> None:
    if shake.is_page:
        await _tell_page(socket, answer)
    elif DENIAL in (scope.get("extensions") or {}):
        start = {"type": f"{DENIAL}.start", "status": answer.status}
        headers = [pair for pair in answer.headers if pair[0] != b"content-length"]
        await send({**start, "headers": headers})
        await send({"type": f"{DENIAL}.body", "body": answer.body})
    else:
        await send({"type": "websocket.close"})


async def _tell_page(socket: ClientSocket, answer: HandshakeResponse) -> None:
    code = CLOSE_CODES.get(answer.status, _SERVER_ERROR)
    try:
        problem = json.loads(answer.body)
        error = {"code": problem["code"], "detail": problem["detail"]}
    except (ValueError, KeyError):
        error = {"code": "server_error", "detail": ""}
    told = PlatformWireFormat().encode(
        ServerMessage(kind=MessageKind.ERROR, fields=error)
    )
    try:
        await socket.accept(None)
        await socket.send(told or "")
    except ClientDisconnected:
        return
    await socket.close(code, error["code"], within=GOODBYE_SECONDS)
