"""`POST /v1/listen`: transcribes prerecorded audio.

Checks in Deepgram's order: key, parameters, project limits, body. The permit is
released before the response is written, so that the client's next call is not refused.
"""

import asyncio
import json
import logging
import time

from aiohttp import web

from workers.emulator import audio, calls, config, faults, journal, keys, limits
from workers.emulator.audio import bodies
from workers.emulator.faults import chance, injection
from workers.emulator.protocol import options, refusals

LOGGER = logging.getLogger(__name__)

_NEEDS_DOCUMENT = frozenset({faults.Kind.DROP, faults.Kind.DRIP})

# The audio in the request, or its URL.
Source = audio.Audio | str


async def transcribe(request: web.Request) -> web.StreamResponse:
    """Handle `POST /v1/listen`: send a response and close the journal entry."""
    call = PrerecordedCall(request)
    try:
        return await call.respond()
    except refusals.Refused as refused:
        return call.refuse(refused.refusal)
    except asyncio.CancelledError:
        call.close(status=journal.CLIENT_GONE, outcome=journal.Outcome.ABORTED)
        raise
    except Exception:
        LOGGER.exception("call failed", extra={"request_id": call.request_id})
        return call.refuse(refusals.INTERNAL)
    finally:
        call.release_permit()


class PrerecordedCall(calls.ListenCall):
    """One call with a file or a URL."""

    # The callback task owns audio, permit and entry.
    _is_accepted = False

    async def respond(self) -> web.StreamResponse:
        """Return the response, or raise Refused."""
        self._authorize()
        early = self._choose_faults(
            # Only the length of the body is known before it is read.
            content=f"{self._request.content_length} bytes",
            kinds=faults.EARLY,
        )
        if early:
            return await self._apply_fault(early[0], b"")
        source = await self._receive()
        chosen = self._choose_faults(
            content=source if isinstance(source, str) else source.sha256,
            kinds=faults.LATE,
        )
        try:
            for fault in chosen:
                await asyncio.sleep(fault.delay_seconds)
            return await self._respond_to(source, chosen)
        finally:
            if not self._is_accepted:
                _discard(source)

    def close(self, *, status: int, outcome: journal.Outcome) -> None:
        """Close the journal entry, unless the callback task does so."""
        if not self._is_accepted:
            super().close(status=status, outcome=outcome)

    def _authorize(self) -> None:
        """Check key, parameters and limits, and acquire a permit."""
        emulator = self._emulator
        caller = self._identify(self._request.headers.get("authorization"))
        self._set_params(options.parse_options(self._pairs))
        callback = self._entry.callback = self._params.callback
        if callback:
            emulator.callbacks.check(callback)
        keys.check_transcription_access(caller)
        self._acquire_permit(emulator.limiter, caller, emulator.tuning)

    async def _receive(self) -> Source:
        """Read the body: audio, or JSON with the URL of the audio."""
        if self._request.content_type == "application/json":
            url = self._entry.url = await bodies.read_media_url(self._request)
            return url
        media = await bodies.read_upload(self._request, self._emulator.settings)
        _record_audio(self._entry, media)
        return media

    async def _respond_to(
        self, source: Source, chosen: tuple[faults.Fault, ...]
    ) -> web.StreamResponse:
        replacement = next((f for f in chosen if f.kind not in faults.MILD), None)
        if replacement is not None and replacement.kind not in _NEEDS_DOCUMENT:
            return await self._apply_fault(replacement, b"")
        result_faults = frozenset(fault.kind for fault in chosen) & faults.MILD
        if self._params.callback:
            return self._respond_accepted(source, result_faults)
        document = await self._build_document(source, result_faults)
        if replacement is not None:
            return await self._apply_fault(replacement, document)
        if self._request.transport is None:
            self.close(status=journal.CLIENT_GONE, outcome=journal.Outcome.ABORTED)
        self.close(status=200, outcome=journal.Outcome.OK)
        return _json_response(document, self.request_id)

    async def _apply_fault(
        self, fault: faults.Fault, document: bytes
    ) -> web.StreamResponse:
        """Apply the fault; close the journal entry first unless the fault is slow."""
        is_slow = fault.kind in {faults.Kind.DRIP, faults.Kind.NOREAD}
        status = injection.get_status(fault)
        if not is_slow:
            self.close(status=status, outcome=journal.Outcome.FAULT)
        response = await injection.apply_fault(
            self._request, fault, document=document, request_id=self.request_id
        )
        self.close(status=status, outcome=journal.Outcome.FAULT)
        return response

    def _respond_accepted(
        self, source: Source, result_faults: frozenset[faults.Kind]
    ) -> web.Response:
        """Respond with the request id and transcribe in the background."""
        self._is_accepted = True
        permit, self._permit = self._permit, None
        self._emulator.callbacks.spawn(
            self._transcribe_and_call_back(source, result_faults, permit)
        )
        return _json_response(
            json.dumps({"request_id": self.request_id}).encode(), self.request_id
        )

    async def _transcribe_and_call_back(
        self,
        source: Source,
        result_faults: frozenset[faults.Kind],
        permit: limits.Permit | None,
    ) -> None:
        """Transcribe and deliver the document, or the body of the error response."""
        status, outcome = 200, journal.Outcome.OK
        try:
            body = await self._build_document(source, result_faults)
        except refusals.Refused as refused:
            status, outcome = refused.refusal.status, journal.Outcome.ERROR
            body = refused.refusal.body(self.request_id)
        finally:
            _discard(source)
            if permit is not None:
                permit.release()
        self._emulator.journal.close(
            self._entry, status=status, outcome=outcome, now=time.time()
        )
        await self._emulator.callbacks.deliver(
            body, params=self._params, entry=self._entry
        )

    async def _build_document(
        self, source: Source, result_faults: frozenset[faults.Kind]
    ) -> bytes:
        """Return the document after the configured latency has passed."""
        started = time.monotonic()
        emulator, params, entry = self._emulator, self._params, self._entry
        media = source
        if isinstance(media, str):
            media = await emulator.fetcher.fetch(media)
            _record_audio(entry, media)
        words = params.shape.words
        try:
            document = await emulator.transcriber.transcribe(
                media,
                params.shape,
                words=emulator.tuning.words if words is None else words,
                result_faults=result_faults,
            )
        except refusals.Refused as refused:
            if entry.url and refused.refusal is refusals.CORRUPT_AUDIO:
                raise refusals.Refused(refusals.REMOTE_INVALID) from refused
            raise
        finally:
            if isinstance(source, str):
                _discard(media)
        entry.duration = round(document.duration, 6)
        wait = choose_latency(
            emulator.tuning,
            audio_seconds=document.duration,
            seed=emulator.settings.seed,
            call=f"{entry.query} {media.sha256}",
        )
        left = started + wait - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        return document.compose(
            request_id=entry.request_id,
            created=journal.format_time(entry.started_at) or "",
            tags=params.tags,
            extra=params.extra,
        )


def choose_latency(
    tuning: config.Tuning, *, audio_seconds: float, seed: int, call: str
) -> float:
    """Return the seconds from the last byte in to the first byte out.

    The random part depends on the seed and the call only, so a repeated run has the
    same latencies in any order.
    """
    fixed = tuning.latency_base + tuning.latency_per_second_of_audio * audio_seconds
    spread = tuning.latency_max - tuning.latency_min
    if spread <= 0:
        return fixed + tuning.latency_min
    return fixed + tuning.latency_min + spread * chance.fraction(seed, call)


def _record_audio(entry: journal.Entry, media: audio.Audio) -> None:
    entry.size_bytes = media.size_bytes
    entry.sha256 = media.sha256


def _discard(source: Source) -> None:
    if isinstance(source, audio.Audio):
        source.discard()


def _json_response(body: bytes, request_id: str) -> web.Response:
    return web.Response(
        body=body,
        headers={"content-type": "application/json", "dg-request-id": request_id},
    )
