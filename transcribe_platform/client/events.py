"""Reads a server-sent event stream, resuming with Last-Event-ID."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from transcribe_platform.client.calls import ApiRequest
from transcribe_platform.client.transport import Transport

# The server sends a comment every 15 s.
_IDLE_TIMEOUT_SECONDS = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event; pass ``id`` as ``after`` to resume behind it.

    ``type`` is "" for a keep-alive: the stream started, or was idle.
    """

    id: str
    type: str
    data: dict[str, Any]


def read_stream(
    transport: Transport, path: str, params: dict[str, str], *, after: str = ""
) -> Iterator[StreamEvent]:
    """Yield the events of one connection until it ends or breaks.

    Raises ApiError if refused, Unreachable if the connection fails.
    """
    headers = {"Accept": "text/event-stream"}
    if after:
        headers["Last-Event-ID"] = after
    call = ApiRequest(
        method="GET",
        path=path,
        params=params,
        headers=headers,
        is_sent_once=True,
        timeout=_IDLE_TIMEOUT_SECONDS,
    )
    with transport.stream(call) as response:
        try:
            yield from _parse(response.iter_lines(), after)
        except httpx.TransportError:
            return


def _parse(lines: Iterator[str], last_id: str) -> Iterator[StreamEvent]:
    kind, text = "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            last_id = value
        elif name == "event":
            kind = value
        elif name == "data":
            text += value
        elif not line:
            yield StreamEvent(
                id=last_id, type=kind, data=json.loads(text) if text else {}
            )
            kind, text = "", ""
