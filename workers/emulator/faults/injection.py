"""Applies the faults of prerecorded calls and handshakes on the wire."""

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
# Truncated, so that JSON parsing fails.
BROKEN_JSON = b'{"metadata":{"request_id":"'
DRIP_SECONDS = 0.2
NOREAD_SECONDS = 60.0


async def apply_fault(
    request: web.Request, fault: faults.Fault, *, document: bytes, request_id: str
) -> web.StreamResponse:
    """Respond with the fault; the connection may be closed afterwards."""
    if fault.kind is faults.Kind.DROP:
        return await _drop(request, document, request_id)
    if fault.kind is faults.Kind.DRIP:
        return await _drip(request, document, request_id, fault.value)
    if fault.kind is faults.Kind.NOREAD:
        await asyncio.sleep(NOREAD_SECONDS if fault.value is None else fault.value)
    if fault.kind in {faults.Kind.CLOSE, faults.Kind.RST, faults.Kind.NOREAD}:
        return hang_up(request, is_reset=fault.kind is not faults.Kind.CLOSE)
    return build_response(fault, request_id)


def hang_up(request: web.Request, *, is_reset: bool) -> web.Response:
    """Close the connection without a response, with a FIN or with a RST."""
    transport = request.transport
    if transport is not None and is_reset:
        sock = transport.get_extra_info("socket")
        # A linger time of zero makes the close a reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    elif transport is not None:
        transport.close()
    # aiohttp needs a return value; the connection is closed.
    return web.Response()


def get_status(fault: faults.Fault) -> int:
    """Return the HTTP status of a fault, or 0 when it sends no response."""
    if fault.kind is faults.Kind.STATUS:
        return fault.status
    if fault.kind is faults.Kind.HTML:
        return 502
    if fault.kind in {faults.Kind.CLOSE, faults.Kind.RST, faults.Kind.NOREAD}:
        return 0
    return 200


def build_response(fault: faults.Fault, request_id: str) -> web.Response:
    """Return the response of a fault that needs no special transport."""
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
    """Announce the full length, send half of the document, and close."""
    response = await _start_response(request, document, request_id)
    await response.write(document[: len(document) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(
    request: web.Request, document: bytes, request_id: str, pause: float | None
) -> web.StreamResponse:
    """Send one byte at a time, which no read timeout detects."""
    response = await _start_response(request, document, request_id)
    for at in range(len(document)):
        await response.write(document[at : at + 1])
        await asyncio.sleep(DRIP_SECONDS if pause is None else pause)
    await response.write_eof()
    return response


async def _start_response(
    request: web.Request, document: bytes, request_id: str
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"dg-request-id": request_id})
    response.content_type = "application/json"
    response.content_length = len(document)
    await response.prepare(request)
    return response
