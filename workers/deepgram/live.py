"""Deepgram's live WebSocket, ``/v1/listen``: one connection is one call.

Uses the ``websockets`` library, because the SDK's async client depends on its
deprecated API (docs/adr/0017). Control messages and close codes:
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
from jobs.errors import UpstreamError
from jobs.models import Region
from jobs.parsing.bounded_json import loads_bounded
from workers.deepgram import errors

CONNECT_SECONDS = 5.0
# Pings detect a silently broken network.
PING_SECONDS = 10.0
CLOSE_SECONDS = 1.0
# Deepgram's SDK accepts at most 1 MiB; the largest real messages have 50 kB.
MAX_MESSAGE_BYTES = 512 * 1024
_NORMAL, _POLICY, _INTERNAL = 1000, 1008, 1011
# Deepgram closed the connection because it received nothing; not an error.
IDLE = "upstream_idle"
_IDLE_MARKS = ("net0001", "net-0001")


class _Connect(connect):
    """Follows no redirects, so that the key is only sent to the region's address."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the redirect as an error; called by websockets."""
        return exc


class LiveCall:
    """An open connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._is_stalled = self._is_finishing = False
        response = socket.response
        self.request_id = response.headers.get("dg-request-id", "") if response else ""

    async def send(self, audio: bytes) -> None:
        """Send audio, except an empty frame, which ends a stream.

        Raises UpstreamError, as all methods that send.
        """
        if audio:
            await self._send(audio)

    async def finalize(self) -> None:
        """Request the final results of the audio sent so far."""
        await self._send_control("Finalize")

    async def keep_alive(self) -> None:
        """Keep the connection open without audio."""
        await self._send_control("KeepAlive")

    async def configure(self, message: Mapping[str, Any]) -> None:
        """Change options of the stream; Deepgram responds with a message."""
        await self._send(json.dumps(message))

    async def finish(self) -> None:
        """Send CloseStream: Deepgram sends the last results and closes."""
        self._is_finishing = True
        await self._send_control("CloseStream")

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None at the end after ``finish``.

        Raises UpstreamError at any other end.
        """
        while True:
            try:
                text = await self._socket.recv()
            except ConnectionClosed as closed:
                if self._is_finishing and closed.rcvd and closed.rcvd.code == _NORMAL:
                    return None
                raise self._map_close(closed) from closed
            if message := _parse(text):
                return message

    def abort(self) -> None:
        """Abort an unresponsive connection."""
        self._is_stalled = True
        self._socket.transport.abort()

    async def close(self) -> None:
        """Close the connection in any state."""
        await self._socket.close()

    async def _send_control(self, kind: str) -> None:
        await self._send(json.dumps({"type": kind}))

    async def _send(self, message: bytes | str) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed as closed:
            raise self._map_close(closed) from closed

    def _map_close(self, closed: ConnectionClosed) -> UpstreamError:
        if self._is_stalled:
            return errors.build_error(
                "upstream_timeout",
                "Deepgram stopped responding.",
                request_id=self.request_id,
            )
        return from_close(closed, request_id=self.request_id)


class FluxCall(LiveCall):
    """A connection to Flux, whose control messages differ."""

    async def finalize(self) -> None:
        """End the current turn."""
        await self._send_control("ForceEndTurn")

    async def keep_alive(self) -> None:
        """Do nothing: Flux has no such message."""

    async def finish(self) -> None:
        """End the current turn, which CloseStream would drop, and the stream."""
        await self._send_control("ForceEndTurn")
        await super().finish()


async def open_call(
    region: Region, query: Mapping[str, Any], *, tags: tuple[str, ...]
) -> LiveCall:
    """Connect to a region; the tags identify the call in Deepgram's request log.

    Raises UpstreamError.
    """
    root = region.base_url.rstrip("/").replace("http", "ws", 1)
    is_flux = options.is_flux(query.get("model"))
    path = "/v2/listen" if is_flux else "/v1/listen"
    key = str(getattr(settings, region.key_setting, "")) or "missing"
    try:
        socket = await _Connect(
            f"{root}{path}?{build_query(query, tags=tags)}",
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
    except InvalidStatus as error:
        response = error.response
        headers = {name.lower(): value for name, value in response.headers.raw_items()}
        raise errors.from_response(
            response.status_code, headers, bytes(response.body or b"")
        ) from error
    except (InvalidHandshake, OSError, TimeoutError) as error:
        raise errors.build_error(
            "upstream_unreachable",
            f"The connection to Deepgram failed ({type(error).__name__}).",
        ) from error
    return FluxCall(socket) if is_flux else LiveCall(socket)


def build_query(job_options: Mapping[str, Any], *, tags: tuple[str, ...]) -> str:
    """Return the query string with the options that the stream supports."""
    if options.is_flux(job_options.get("model")):
        query = options.select_flux_options(job_options)
    else:
        selected = options.select_live_options(job_options)
        query = {"interim_results": True, **selected}
    query["tag"] = [*query.get("tag", ()), *tags]
    pairs = [
        (name, _format(item))
        for name, value in query.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return urlencode(pairs)


def from_close(closed: ConnectionClosed, *, request_id: str) -> UpstreamError:
    """Map an unexpected close."""
    code = closed.rcvd.code if closed.rcvd else None
    reason = closed.rcvd.reason if closed.rcvd else ""
    if code == _POLICY:
        message = "The audio cannot be decoded."
        return errors.build_error("audio_unreadable", message, request_id=request_id)
    if code == _INTERNAL and any(mark in reason.lower() for mark in _IDLE_MARKS):
        return errors.build_error(IDLE, request_id=request_id)
    return errors.build_error("upstream_connection_lost", request_id=request_id)


def _parse(text: str | bytes) -> dict[str, Any] | None:
    """Return a message, or None if it is not a JSON object."""
    try:
        message = loads_bounded(text, max_chars=MAX_MESSAGE_BYTES)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _format(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@cache
def _tls() -> ssl.SSLContext:
    """Return a shared context: creating one blocks the event loop for 40 ms."""
    return ssl.create_default_context()
