"""One prerecorded call on its way from headers to answer.

Upstream's order is kept: the key, the parameters, the project's limits, the body. The
place among the calls in flight is given back before the answer is written, so that a
client which calls again at once is not refused.
"""

import asyncio
import json
import logging
import time
from collections.abc import Set

from aiohttp import web

from workers.emulator import audio, config, faults, journal, keys, limits, state
from workers.emulator.audio import bodies
from workers.emulator.faults import chance, misbehaviour
from workers.emulator.protocol import options, refusals

LOGGER = logging.getLogger(__name__)

_WITH_DOCUMENT = frozenset({faults.Kind.DROP, faults.Kind.DRIP})

# What a call brings: the audio itself, or the address of it.
Source = audio.Audio | str


async def transcribe(request: web.Request) -> web.StreamResponse:
    """Handle `POST /v1/listen`: send a response and close the journal entry."""
    call = Call(request.app[state.EMULATOR], request)
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


class Call:
    """Hold what belongs to one call: its request, journal entry and permit."""

    def __init__(self, emulator: state.Emulator, request: web.Request) -> None:
        self._emulator = emulator
        self._request = request
        self._pairs = options.split_query(request.rel_url.raw_query_string)
        self._entry = state.open_entry(emulator, request, self._pairs)
        self._wanted = options.Options()
        self._permit: limits.Permit | None = None
        self._is_accepted = False  # its callback now owns audio, permit and entry

    @property
    def request_id(self) -> str:
        """Return the id under which everything about this call is found."""
        return self._entry.request_id

    async def respond(self) -> web.StreamResponse:
        """Return the answer, or raise Refused."""
        self._admit()
        early = self._choose_faults(
            # The length is all that is known of a body before it is read.
            content=f"{self._request.content_length} bytes",
            kinds=faults.EARLY,
        )
        if early:
            return await self._misbehave(early[0], b"")
        source = await self._receive()
        chosen = self._choose_faults(
            content=source if isinstance(source, str) else source.sha256,
            kinds=faults.LATE,
        )
        try:
            for fault in chosen:
                await asyncio.sleep(fault.delay_seconds)
            return await self._answer_to(source, chosen)
        finally:
            if not self._is_accepted:
                _discard(source)

    def refuse(self, refusal: refusals.Refusal) -> web.Response:
        """Return an error answer."""
        self.close(status=refusal.status, outcome=journal.Outcome.ERROR)
        return refusal.response(self.request_id)

    def close(self, *, status: int, outcome: journal.Outcome) -> None:
        """Write down how the call ended, unless its callback will."""
        if not self._is_accepted:
            self._emulator.journal.close(
                self._entry, status=status, outcome=outcome, now=time.time()
            )

    def release_permit(self) -> None:
        """Give back the place among the calls in flight."""
        if self._permit is not None:
            self._permit.release()
            self._permit = None

    def _admit(self) -> None:
        """Check key, parameters and limits, in this order."""
        emulator, entry = self._emulator, self._entry
        caller = emulator.keyring.identify(self._request.headers.get("authorization"))
        entry.key, entry.project = caller.shown_key, caller.project
        wanted = self._wanted = options.parse_options(self._pairs)
        entry.model = wanted.shape.model
        entry.features = tuple(sorted(wanted.shape.flags))
        entry.callback = wanted.callback
        if wanted.callback:
            emulator.callbacks.check(wanted.callback)
        keys.check_may_listen(caller)
        self._permit = emulator.limiter.take(
            caller.project, tuning=emulator.tuning, now=time.monotonic()
        )

    async def _receive(self) -> Source:
        """Read the body: audio, or JSON that says where the audio is."""
        if self._request.content_type == "application/json":
            url = self._entry.url = await bodies.read_address(self._request)
            return url
        sound = await bodies.read_upload(self._request, self._emulator.settings)
        _note(self._entry, sound)
        return sound

    def _choose_faults(
        self, *, content: str, kinds: Set[faults.Kind]
    ) -> tuple[faults.Fault, ...]:
        subject = faults.Subject(
            tags=self._wanted.tags,
            path=self._entry.path,
            model=self._wanted.shape.model,
            url=self._entry.url,
            content=content,
        )
        chosen = self._emulator.faults.choose(subject, kinds)
        if chosen:
            self._entry.fault = ", ".join(fault.name for fault in chosen)
        return chosen

    async def _answer_to(
        self, source: Source, chosen: tuple[faults.Fault, ...]
    ) -> web.StreamResponse:
        broken = next((f for f in chosen if f.kind not in faults.MILD), None)
        if broken is not None and broken.kind not in _WITH_DOCUMENT:
            return await self._misbehave(broken, b"")
        spoiled = frozenset(fault.kind for fault in chosen) & faults.MILD
        if self._wanted.callback:
            return self._accept(source, spoiled)
        document = await self._work(source, spoiled)
        if broken is not None:
            return await self._misbehave(broken, document)
        if self._request.transport is None:
            self.close(status=journal.CLIENT_GONE, outcome=journal.Outcome.ABORTED)
        self.close(status=200, outcome=journal.Outcome.OK)
        return _json_response(document, self.request_id)

    async def _misbehave(
        self, fault: faults.Fault, document: bytes
    ) -> web.StreamResponse:
        """Act out the fault; how the client takes it changes nothing any more."""
        is_slow = fault.kind in {faults.Kind.DRIP, faults.Kind.NOREAD}
        status = misbehaviour.answer_status(fault)
        if not is_slow:
            self.close(status=status, outcome=journal.Outcome.FAULT)
        response = await misbehaviour.perform(
            self._request, fault, document=document, request_id=self.request_id
        )
        self.close(status=status, outcome=journal.Outcome.FAULT)
        return response

    def _accept(self, source: Source, spoiled: frozenset[faults.Kind]) -> web.Response:
        """Answer with the request id alone, and go on without the client."""
        self._is_accepted = True
        permit, self._permit = self._permit, None
        self._emulator.callbacks.spawn(self._call_back(source, spoiled, permit))
        return _json_response(
            json.dumps({"request_id": self.request_id}).encode(), self.request_id
        )

    async def _call_back(
        self,
        source: Source,
        spoiled: frozenset[faults.Kind],
        permit: limits.Permit | None,
    ) -> None:
        """Work, and deliver the document or the error, which looks as it would here."""
        status, outcome = 200, journal.Outcome.OK
        try:
            body = await self._work(source, spoiled)
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
            body, wanted=self._wanted, entry=self._entry
        )

    async def _work(self, source: Source, spoiled: frozenset[faults.Kind]) -> bytes:
        """Return the document, not before the latency of the call has passed."""
        started = time.monotonic()
        emulator, wanted, entry = self._emulator, self._wanted, self._entry
        sound = source
        if isinstance(sound, str):
            sound = await emulator.fetcher.fetch(sound)
            _note(entry, sound)
        words = wanted.shape.words
        try:
            document = await emulator.transcriber.transcribe(
                sound,
                wanted.shape,
                words=emulator.tuning.words if words is None else words,
                spoiled=spoiled,
            )
        except refusals.Refused as refused:
            if entry.url and refused.refusal is refusals.CORRUPT_AUDIO:
                raise refusals.Refused(refusals.REMOTE_INVALID) from refused
            raise
        finally:
            if isinstance(source, str):
                _discard(sound)
        entry.duration = round(document.duration, 6)
        wait = choose_latency(
            emulator.tuning,
            audio_seconds=document.duration,
            seed=emulator.settings.seed,
            call=f"{entry.query} {sound.sha256}",
        )
        left = started + wait - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)
        return document.compose(
            request_id=entry.request_id,
            created=journal.format_time(entry.started_at) or "",
            tags=wanted.tags,
            extra=wanted.extra,
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


def _note(entry: journal.Entry, sound: audio.Audio) -> None:
    entry.size_bytes = sound.size_bytes
    entry.sha256 = sound.sha256


def _discard(source: Source) -> None:
    if isinstance(source, audio.Audio):
        source.discard()


def _json_response(body: bytes, request_id: str) -> web.Response:
    return web.Response(
        body=body,
        headers={"content-type": "application/json", "dg-request-id": request_id},
    )
