"""`GET /v1/listen`: accepts the handshake of a live stream or refuses it.

Browsers cannot set headers; they send the key as a subprotocol: `token, KEY`.
"""

import asyncio
import time

from aiohttp import web

from workers.emulator import faults, journal, keys, limits, state
from workers.emulator.faults import injection
from workers.emulator.live import live_options, session
from workers.emulator.protocol import options, refusals

NO_UPGRADE = "This is a WebSocket endpoint: send an upgrade request, or use POST."


async def listen(request: web.Request) -> web.StreamResponse:
    """Handle one stream."""
    emulator = request.app[state.EMULATOR]
    pairs = options.split_query(request.rel_url.raw_query_string)
    entry = state.open_entry(emulator, request, pairs)
    permit: limits.Permit | None = None
    try:
        params, caller = _check(emulator, request, entry, pairs)
        chosen = _choose_faults(emulator, entry, params)
        fault = await _delay(chosen)
        if fault is not None:
            return await _apply_fault(emulator, request, entry, fault)
        permit = emulator.stream_limiter.acquire(
            caller.project,
            tuning=emulator.tuning.for_streams(emulator.recognizer_pool.max_streams),
            now=time.monotonic(),
        )
        stream = session.Session(
            emulator, request, entry=entry, params=params, chosen=chosen
        )
        return await stream.run()
    except refusals.Refused as refused:
        return _refuse(emulator, entry, refused.refusal)
    finally:
        if permit is not None:
            permit.release()
        _close(emulator, entry, journal.CLIENT_GONE, journal.Outcome.ABORTED)


def _check(
    emulator: state.Emulator,
    request: web.Request,
    entry: journal.Entry,
    pairs: options.Pairs,
) -> tuple[live_options.LiveOptions, keys.Caller]:
    """Check key and parameters, in Deepgram's order."""
    if request.headers.get("upgrade", "").lower() != "websocket":
        raise refusals.bad_request(NO_UPGRADE)
    caller = emulator.keyring.identify(_read_authorization(request))
    entry.key, entry.project = caller.shown_key, caller.project
    params = live_options.parse_live_options(pairs)
    entry.model = params.options.shape.model
    entry.features = tuple(sorted(params.options.shape.flags))
    keys.check_transcription_access(caller)
    return params, caller


def _read_authorization(request: web.Request) -> str | None:
    """Return the Authorization header, or its equivalent in the subprotocol."""
    header = request.headers.get("authorization")
    if header is not None:
        return header
    parts = request.headers.get("sec-websocket-protocol", "").split(",")
    return " ".join(part.strip() for part in parts[:2])


def _choose_faults(
    emulator: state.Emulator, entry: journal.Entry, params: live_options.LiveOptions
) -> tuple[faults.Fault, ...]:
    subject = faults.Subject(
        tags=params.options.tags,
        path=entry.path,
        model=params.options.shape.model,
        url="",
        # The audio is not known yet.
        content=f"{entry.key} {entry.query}",
    )
    chosen = emulator.faults.choose(subject, faults.LIVE)
    entry.fault = ", ".join(fault.name for fault in chosen)
    return chosen


async def _delay(chosen: tuple[faults.Fault, ...]) -> faults.Fault | None:
    """Apply delays and return the fault that ends the handshake, if any."""
    for fault in chosen:
        await asyncio.sleep(fault.delay_seconds)
    return next((f for f in chosen if f.kind in faults.HANDSHAKE), None)


async def _apply_fault(
    emulator: state.Emulator,
    request: web.Request,
    entry: journal.Entry,
    fault: faults.Fault,
) -> web.StreamResponse:
    response = await injection.apply_fault(
        request, fault, document=b"", request_id=entry.request_id
    )
    if fault.kind is faults.Kind.STATUS:
        response.headers.setdefault(
            "dg-error", refusals.for_status(fault.status).message
        )
    _close(emulator, entry, injection.get_status(fault), journal.Outcome.FAULT)
    return response


def _refuse(
    emulator: state.Emulator, entry: journal.Entry, refusal: refusals.Refusal
) -> web.Response:
    _close(emulator, entry, refusal.status, journal.Outcome.ERROR)
    response = refusal.response(entry.request_id)
    response.headers["dg-error"] = refusal.message
    return response


def _close(
    emulator: state.Emulator,
    entry: journal.Entry,
    status: int,
    outcome: journal.Outcome,
) -> None:
    emulator.journal.close(entry, status=status, outcome=outcome, now=time.time())
