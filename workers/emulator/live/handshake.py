"""`GET /v1/listen` and `/v2/listen`: accepts or refuses the handshake of a stream.

Browsers cannot set headers; they send the key as a subprotocol: `token, KEY`.
"""

import asyncio

from aiohttp import web

from workers.emulator import calls, faults, journal, keys
from workers.emulator.faults import injection
from workers.emulator.live import live_options, session, turns
from workers.emulator.protocol import refusals

NO_UPGRADE = "This is a WebSocket endpoint: send an upgrade request, or use POST."


async def listen(request: web.Request) -> web.StreamResponse:
    """Handle one stream."""
    call = LiveCall(request)
    try:
        return await call.respond()
    except refusals.Refused as refused:
        return call.refuse(refused.refusal)
    finally:
        call.release_permit()
        call.close(status=journal.CLIENT_GONE, outcome=journal.Outcome.ABORTED)


class LiveCall(calls.ListenCall):
    """One handshake, and its stream."""

    async def respond(self) -> web.StreamResponse:
        """Run the stream, or raise Refused."""
        emulator, entry = self._emulator, self._entry
        if self._request.headers.get("upgrade", "").lower() != "websocket":
            raise refusals.bad_request(NO_UPGRADE)
        caller = self._identify(self._read_authorization())
        is_flux = self._request.path == turns.PATH
        parse = live_options.parse_flux_options if is_flux else None
        params = (parse or live_options.parse_live_options)(self._pairs)
        self._set_params(params.options)
        keys.check_transcription_access(caller)
        # The audio is not known yet.
        content = f"{entry.key} {entry.query}"
        chosen = self._choose_faults(content=content, kinds=faults.LIVE)
        for fault in chosen:
            await asyncio.sleep(fault.delay_seconds)
        ending = next((f for f in chosen if f.kind in faults.HANDSHAKE), None)
        if ending is not None:
            return await self._apply_fault(ending)
        tuning = emulator.tuning.for_streams(emulator.recognizer_pool.max_streams)
        self._acquire_permit(emulator.stream_limiter, caller, tuning)
        stream = session.Session(
            emulator, self._request, entry=entry, params=params, chosen=chosen
        )
        return await stream.run()

    def refuse(self, refusal: refusals.Refusal) -> web.Response:
        """Return an error response, whose header has the message for browsers."""
        response = super().refuse(refusal)
        response.headers["dg-error"] = refusal.message
        return response

    def _read_authorization(self) -> str | None:
        """Return the Authorization header, or its equivalent in the subprotocol."""
        header = self._request.headers.get("authorization")
        if header is not None:
            return header
        parts = self._request.headers.get("sec-websocket-protocol", "").split(",")
        return " ".join(part.strip() for part in parts[:2])

    async def _apply_fault(self, fault: faults.Fault) -> web.StreamResponse:
        response = await injection.apply_fault(
            self._request, fault, document=b"", request_id=self.request_id
        )
        if fault.kind is faults.Kind.STATUS:
            message = refusals.for_status(fault.status).message
            response.headers.setdefault("dg-error", message)
        status = injection.get_status(fault)
        self.close(status=status, outcome=journal.Outcome.FAULT)
        return response
