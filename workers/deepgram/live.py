"""The upstream's WebSocket, ``/v1/listen`` live: one connection is one call.

By the library ``websockets`` itself and not by the SDK's async client, which stands on
its deprecated half (docs/adr/0017). Control frames and closing codes:
https://developers.deepgram.com/docs/live-streaming-audio.
"""

import json
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from jobs import options
from jobs.backoff import Failure
from jobs.bounded_json import loads_bounded
from jobs.errors import UpstreamError
from jobs.models import Region
from workers.deepgram import errors

CONNECT_SECONDS = 5.0
# A network that is gone without a word is found out by these.
PING_SECONDS = 10.0
CLOSE_SECONDS = 1.0
# Deepgram's own SDK takes no message over 1 MiB; the largest real ones have 50 kB.
MAX_MESSAGE_BYTES = 512 * 1024
_NORMAL, _POLICY, _INTERNAL = 1000, 1008, 1011
# Nothing came from us for too long: the connection is gone, and nothing is wrong.
IDLE = "upstream_idle"
_IDLE_MARKS = ("net0001", "net-0001")


class _Connect(connect):
    """Follow nobody elsewhere: the key goes to the region's address alone."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for the refusal that it is."""
        return exc


class LiveCall:
    """One open connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._is_stalled = self._was_ended = False
        answer = socket.response
        self.request_id = answer.headers.get("dg-request-id", "") if answer else ""

    async def send(self, audio: bytes) -> None:
        """Send audio; nothing at all would end the stream. Raises UpstreamError."""
        if audio:
            await self._send(audio)

    async def finalize(self) -> None:
        """Ask for what was heard so far."""
        await self._say("Finalize")

    async def keep_alive(self) -> None:
        """Say that more will come."""
        await self._say("KeepAlive")

    async def end(self) -> None:
        """Say that nothing more will come: the last results follow, then the end."""
        self._was_ended = True
        await self._say("CloseStream")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None at the end that was asked for.

        Raises UpstreamError for any other end.
        """
        while True:
            try:
                text = await self._socket.recv()
            except ConnectionClosed as closed:
                if self._was_ended and closed.rcvd and closed.rcvd.code == _NORMAL:
                    return None
                raise self._explain(closed) from closed
            if message := _parse(text):
                return message

    def give_up(self) -> None:
        """Break the connection off: it hears and says nothing."""
        self._is_stalled = True
        self._socket.transport.abort()

    async def close(self) -> None:
        """Close it, however it stands."""
        await self._socket.close()

    async def _say(self, kind: str) -> None:
        await self._send(json.dumps({"type": kind}))

    async def _send(self, message: bytes | str) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed as closed:
            raise self._explain(closed) from closed

    def _explain(self, closed: ConnectionClosed) -> UpstreamError:
        if self._is_stalled:
            return UpstreamError(
                "Deepgram stopped answering.",
                code="upstream_timeout",
                failure=Failure.TIMEOUT,
                request_id=self.request_id,
            )
        return from_close(closed, request_id=self.request_id)


async def open_call(
    region: Region, query: Mapping[str, Any], *, tags: tuple[str, ...]
) -> LiveCall:
    """Connect to a region; the tags name the call in the upstream's own log.

    Raises UpstreamError.
    """
    root = region.base_url.rstrip("/").replace("http", "ws", 1)
    key = str(getattr(settings, region.key_setting, "")) or "missing"
    try:
        socket = await _Connect(
            f"{root}/v1/listen?{build_query(query, tags=tags)}",
            additional_headers={"Authorization": f"Token {key}"},
            ssl=_tls() if root.startswith("wss:") else None,
            proxy=None,
            compression=None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
        )
    except InvalidStatus as refused:
        answer = refused.response
        headers = {name.lower(): value for name, value in answer.headers.raw_items()}
        raise errors.from_answer(
            answer.status_code, headers, bytes(answer.body or b"")
        ) from refused
    except (InvalidHandshake, OSError, TimeoutError) as error:
        raise UpstreamError(
            f"The connection to Deepgram failed ({type(error).__name__}).",
            code="upstream_unreachable",
            failure=Failure.UNREACHABLE,
        ) from error
    return LiveCall(socket)


def build_query(asked: Mapping[str, Any], *, tags: tuple[str, ...]) -> str:
    """Return the query string: what a stream can have, as Deepgram writes it."""
    wanted = {"interim_results": True, **options.choose_live(asked)}
    wanted["tag"] = [*wanted.get("tag", ()), *tags]
    pairs = [
        (name, _write(each))
        for name, value in wanted.items()
        for each in (value if isinstance(value, list) else [value])
    ]
    return urlencode(pairs)


def from_close(closed: ConnectionClosed, *, request_id: str) -> UpstreamError:
    """Map an end that nobody asked for."""
    code = closed.rcvd.code if closed.rcvd else None
    reason = closed.rcvd.reason if closed.rcvd else ""
    if code == _POLICY:
        return UpstreamError(
            "The audio cannot be decoded.",
            code="audio_unreadable",
            failure=Failure.BAD_MEDIA,
            request_id=request_id,
        )
    if code == _INTERNAL and any(mark in reason.lower() for mark in _IDLE_MARKS):
        return UpstreamError(
            "Deepgram heard nothing for too long.",
            code="upstream_idle",
            failure=Failure.UNAVAILABLE,
            request_id=request_id,
        )
    return UpstreamError(
        "The connection to Deepgram broke off.",
        code="upstream_connection_lost",
        failure=Failure.UNAVAILABLE,
        request_id=request_id,
    )


def _parse(text: str | bytes) -> dict[str, Any] | None:
    """Return a message; what is none says nothing."""
    try:
        message = loads_bounded(text, max_chars=MAX_MESSAGE_BYTES)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _write(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@cache
def _tls() -> ssl.SSLContext:
    """Return one context for all: a new one takes 40 ms of the loop."""
    return ssl.create_default_context()
