"""Read an event stream, and go on where it broke off."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from transcribe_platform.client.calls import Call
from transcribe_platform.client.transport import Transport

# A comment comes every fifteen seconds.
_SILENCE_SECONDS = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event; ``id`` is where to go on after it.

    ``type`` is "" for a sign of life: the stream has begun, or has been silent.
    """

    id: str
    type: str
    data: dict[str, Any]


def read_stream(
    transport: Transport, path: str, params: dict[str, str], *, after: str = ""
) -> Iterator[StreamEvent]:
    """Yield events of one connection until it ends, in whatever way.

    Raises ApiError if it is refused, Unreachable if nobody is there.
    """
    headers = {"Accept": "text/event-stream"}
    if after:
        headers["Last-Event-ID"] = after
    call = Call(
        method="GET",
        path=path,
        params=params,
        headers=headers,
        is_sent_once=True,
        timeout=_SILENCE_SECONDS,
    )
    with transport.stream(call) as answer:
        try:
            yield from _parse(answer.iter_lines(), after)
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
