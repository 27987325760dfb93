"""Acting out a fault on the wire, down to the socket. Which one is chosen elsewhere."""

import asyncio
import dataclasses
import json
import socket
import struct

from aiohttp import web

from workers.emulator import faults
from workers.emulator.protocol import refusals

BAD_GATEWAY_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
# With a body of this kind parsing fails half way through.
BROKEN_JSON = b'{"metadata":{"request_id":"'
DRIP_SECONDS = 0.2
NOREAD_SECONDS = 60.0


async def perform(
    request: web.Request, fault: faults.Fault, *, document: bytes, request_id: str
) -> web.StreamResponse:
    """Answer the call the wrong way; the connection may be gone afterwards."""
    if fault.kind is faults.Kind.DROP:
        return await _drop(request, document, request_id)
    if fault.kind is faults.Kind.DRIP:
        return await _drip(request, document, request_id, fault.value)
    if fault.kind is faults.Kind.NOREAD:
        await asyncio.sleep(NOREAD_SECONDS if fault.value is None else fault.value)
    if fault.kind in {faults.Kind.CLOSE, faults.Kind.RST, faults.Kind.NOREAD}:
        return hang_up(request, is_reset=fault.kind is not faults.Kind.CLOSE)
    return build_answer(fault, request_id)


def hang_up(request: web.Request, *, is_reset: bool) -> web.Response:
    """End the connection without an answer, politely or with a RST."""
    transport = request.transport
    if transport is not None and is_reset:
        plug = transport.get_extra_info("socket")
        # Lingering for zero seconds turns the closing into a reset.
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    elif transport is not None:
        transport.close()
    # Never sent: the connection is gone.
    return web.Response()


def answer_status(fault: faults.Fault) -> int:
    """Return the status a fault shows to the client; 0 when it shows none."""
    if fault.kind is faults.Kind.STATUS:
        return fault.status
    if fault.kind is faults.Kind.HTML:
        return 502
    if fault.kind in {faults.Kind.CLOSE, faults.Kind.RST, faults.Kind.NOREAD}:
        return 0
    return 200


def build_answer(fault: faults.Fault, request_id: str) -> web.Response:
    """Return the whole response of a fault that is only an odd answer."""
    headers = {"dg-request-id": request_id, **fault.headers}
    if fault.kind is faults.Kind.HTML:
        return web.Response(
            status=502,
            body=BAD_GATEWAY_PAGE,
            content_type="text/html",
            headers=headers,
        )
    if fault.kind is faults.Kind.BADJSON:
        return _json(BROKEN_JSON, headers)
    if fault.kind is faults.Kind.WEIRD:
        return _json(b'{"unexpected":true}', headers)
    if fault.body is not None:
        is_text = isinstance(fault.body, str)
        body = fault.body if is_text else json.dumps(fault.body)
        return web.Response(
            status=fault.status,
            text=body,
            content_type="text/plain" if is_text else "application/json",
            headers=headers,
        )
    refusal = refusals.for_status(fault.status)
    if fault.is_alternate:
        refusal = dataclasses.replace(refusal, envelope=refusals.Envelope.CATEGORY)
    response = refusal.response(request_id)
    response.headers.update(fault.headers)
    return response


def _json(body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(body=body, content_type="application/json", headers=headers)


async def _drop(
    request: web.Request, document: bytes, request_id: str
) -> web.StreamResponse:
    """Promise the whole document, send half of it, and hang up."""
    response = await _begin(request, document, request_id)
    await response.write(document[: len(document) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(
    request: web.Request, document: bytes, request_id: str, pause: float | None
) -> web.StreamResponse:
    """Send one byte at a time, each in time for any read timeout."""
    response = await _begin(request, document, request_id)
    for at in range(len(document)):
        await response.write(document[at : at + 1])
        await asyncio.sleep(DRIP_SECONDS if pause is None else pause)
    await response.write_eof()
    return response


async def _begin(
    request: web.Request, document: bytes, request_id: str
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"dg-request-id": request_id})
    response.content_type = "application/json"
    response.content_length = len(document)
    await response.prepare(request)
    return response
