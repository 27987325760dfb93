"""The handshake of a live stream: granted, or refused with a reason one can read.

Browsers cannot set headers, so the key may come as a subprotocol: `token, KEY`.
"""

import asyncio
import time

from aiohttp import web

from workers.emulator import faults, journal, keys, limits, state
from workers.emulator.faults import misbehaviour
from workers.emulator.live import live_options, session
from workers.emulator.protocol import options, refusals

NO_UPGRADE = refusals.bad_request("This is a WebSocket: send an upgrade, or use POST.")


async def listen(request: web.Request) -> web.StreamResponse:
    """Serve one stream."""
    emulator = request.app[state.EMULATOR]
    pairs = options.split_query(request.rel_url.raw_query_string)
    entry = state.open_entry(emulator, request, pairs)
    permit: limits.Permit | None = None
    try:
        wanted, caller = _check(emulator, request, entry, pairs)
        chosen = _choose_faults(emulator, entry, wanted)
        broken = await _delay(chosen)
        if broken is not None:
            return await _misbehave(emulator, request, entry, broken)
        permit = emulator.stream_limiter.take(
            caller.project,
            tuning=emulator.tuning.for_streams(emulator.audience.most_streams),
            now=time.monotonic(),
        )
        stream = session.Session(
            emulator, request, entry=entry, wanted=wanted, chosen=chosen
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
) -> tuple[live_options.Wishes, keys.Caller]:
    """Check key and parameters, in this order."""
    if request.headers.get("upgrade", "").lower() != "websocket":
        raise refusals.Refused(NO_UPGRADE)
    caller = emulator.keyring.identify(_read_authorization(request))
    entry.key, entry.project = caller.shown_key, caller.project
    wanted = live_options.parse_wishes(pairs)
    entry.model = wanted.options.shape.model
    entry.features = tuple(sorted(wanted.options.shape.flags))
    keys.check_may_listen(caller)
    return wanted, caller


def _read_authorization(request: web.Request) -> str | None:
    """Return the header, or what a browser can send in its place."""
    header = request.headers.get("authorization")
    if header is not None:
        return header
    parts = request.headers.get("sec-websocket-protocol", "").split(",")
    return " ".join(part.strip() for part in parts[:2])


def _choose_faults(
    emulator: state.Emulator, entry: journal.Entry, wanted: live_options.Wishes
) -> tuple[faults.Fault, ...]:
    subject = faults.Subject(
        tags=wanted.options.tags,
        path=entry.path,
        model=wanted.options.shape.model,
        url="",
        # Nothing is known of the audio yet.
        content=f"{entry.key} {entry.query}",
    )
    chosen = emulator.faults.choose(subject, faults.LIVE)
    entry.fault = ", ".join(fault.name for fault in chosen)
    return chosen


async def _delay(chosen: tuple[faults.Fault, ...]) -> faults.Fault | None:
    """Wait as long as asked, and return the fault that ends the handshake."""
    for fault in chosen:
        await asyncio.sleep(fault.delay_seconds)
    return next((f for f in chosen if f.kind in faults.HANDSHAKE), None)


async def _misbehave(
    emulator: state.Emulator,
    request: web.Request,
    entry: journal.Entry,
    fault: faults.Fault,
) -> web.StreamResponse:
    response = await misbehaviour.perform(
        request, fault, document=b"", request_id=entry.request_id
    )
    if fault.kind is faults.Kind.STATUS:
        response.headers.setdefault(
            "dg-error", refusals.for_status(fault.status).message
        )
    _close(emulator, entry, misbehaviour.answer_status(fault), journal.Outcome.FAULT)
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
