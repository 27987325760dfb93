"""One live stream, from its handshake to its close code.

Whatever ends it, the journal is closed and nothing of it is left running.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import aiohttp
from aiohttp import web

from workers.emulator import faults, journal, state
from workers.emulator.engines.live import base as live_engines_base
from workers.emulator.engines.live import events
from workers.emulator.faults import misbehaviour
from workers.emulator.live import (
    containers,
    decoding,
    live_options,
    messages,
    packets,
    send_queue,
)
from workers.emulator.live import faults as troubles

# Nothing bigger is taken in one frame.
MOST_FRAME_BYTES = 16 * 1024 * 1024
SWITCHING_PROTOCOLS = 101

_DRAIN_SECONDS = 10.0
_NORMAL = aiohttp.WSCloseCode.OK
_INVALID = aiohttp.WSCloseCode.POLICY_VIOLATION
_INTERNAL = aiohttp.WSCloseCode.INTERNAL_ERROR
_GONE = frozenset({None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE})


class Session:
    """Hold what belongs to one stream; `run` returns when it has ended."""

    def __init__(
        self,
        emulator: state.Emulator,
        request: web.Request,
        *,
        entry: journal.Entry,
        wanted: live_options.Wishes,
        chosen: Sequence[faults.Fault],
    ) -> None:
        self.entry = entry
        self.seconds = 0.0
        self._emulator = emulator
        self._request = request
        self._wanted = wanted
        self._trouble = troubles.Trouble(chosen)
        self._socket = web.WebSocketResponse(
            protocols=("token", "bearer"),
            compress=False,
            max_msg_size=MOST_FRAME_BYTES,
            autoclose=True,
        )
        self._socket.headers["dg-request-id"] = entry.request_id
        self._ear: events.Ear | None = None
        self._ending: asyncio.Task[None] | None = None
        self._is_finishing = False
        self._outcome = journal.Outcome.ABORTED
        self._outbox = send_queue.Outbox(self._socket)
        self._decoder = self._open_decoder()
        raw = wanted.options.shape.raw
        self._writer = messages.Writer(
            request_id=entry.request_id,
            created=journal.format_time(entry.started_at) or "",
            engine=emulator.transcriber.engine.name,
            shape=wanted.options.shape,
            channels=raw.channels if raw and wanted.is_multichannel else 1,
        )

    async def run(self) -> web.WebSocketResponse:
        """Speak with the client until one of both ends it."""
        await self._socket.prepare(self._request)
        self._outbox.open()
        self._emulator.streams.add(self)
        try:
            await self._begin_badly()
            await self._converse()
            if self._ending is not None:
                await self._ending
        finally:
            self._emulator.streams.discard(self)
            self._close_entry()
            # A client that goes just now must not keep this from happening.
            await asyncio.shield(asyncio.create_task(self._let_go()))
        return self._socket

    def cut(self, *, is_reset: bool) -> None:
        """Break the stream off from outside: with a RST, or with 1011 NET-0000."""
        self._outcome = journal.Outcome.FAULT
        if is_reset:
            self.entry.close_code = aiohttp.WSCloseCode.ABNORMAL_CLOSURE
            misbehaviour.hang_up(self._request, is_reset=True)
        else:
            self._end(_INTERNAL, messages.NO_TEXT_REASON, journal.Outcome.FAULT)

    async def _converse(self) -> None:
        """Take frame after frame; silence for too long ends the stream."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while self._ending is None:
            left = last + self._emulator.tuning.stream_idle_seconds - loop.time()
            patience = None if self._trouble.is_stalled else max(left, 0.001)
            try:
                frame = await self._socket.receive(patience)
            except TimeoutError:
                self._finish(_INTERNAL, messages.IDLE_REASON, journal.Outcome.ERROR)
                return
            if frame.type is aiohttp.WSMsgType.BINARY:
                last = loop.time()
                await self._take_audio(frame.data)
            elif frame.type is aiohttp.WSMsgType.TEXT:
                # A stream that never had audio is not kept open by words.
                last = loop.time() if self.entry.size_bytes else last
                await self._take_text(frame.data)
            else:
                return

    async def _take_audio(self, payload: bytes) -> None:
        if not payload:
            self._finish(_NORMAL, "", journal.Outcome.OK)
            return
        self.entry.size_bytes += len(payload)
        try:
            await self._decoder.feed(payload)
        except decoding.Undecodable:
            self._fail()
        await self._outbox.room()

    async def _take_text(self, text: str) -> None:
        try:
            control = messages.read_control(text)
        except messages.SchemaError as error:
            self._outbox.put(messages.schema_error(text, error))
            return
        match control.kind:
            case "CloseStream":
                self._finish(_NORMAL, "", journal.Outcome.OK)
            case "Finalize" if self._ear is not None:
                await self._ear.finalize(control.channel)
            case "Configure":
                self._outbox.put(self._writer.configured(control.keyterms))

    async def _hear(self, sound: decoding.Sound) -> None:
        """Let the engine listen; called with all sound in order."""
        if self._ending is not None and not self._is_finishing:
            return
        if self._ear is None:
            self._ear = self._open_ear(sound)
        await self._ear.hear(sound.samples)
        frames = len(sound.samples) / (2 * sound.channels)
        self.seconds += frames / sound.sample_rate
        self._misbehave()

    def _say(self, event: events.Event) -> None:
        if isinstance(event, events.Heard):
            self._trouble.count_result()
            if self._trouble.is_deaf:
                event = troubles.empty(event)
        self._outbox.put(self._writer.write(event))

    def _misbehave(self) -> None:
        """Do what is due of the faults that strike in the middle."""
        for kind in self._trouble.due(self.seconds):
            match kind:
                case faults.Kind.STALL:
                    self._outbox.is_silent = True
                case faults.Kind.CUT:
                    self.cut(is_reset=True)
                case faults.Kind.BYE:
                    self.cut(is_reset=False)

    async def _begin_badly(self) -> None:
        self._outbox.delay_seconds = self._trouble.delay_seconds
        for text in self._trouble.odd_messages:
            self._outbox.put(text)
        self._misbehave()
        await asyncio.sleep(self._trouble.noread_seconds)

    def _finish(self, code: int, reason: str, outcome: journal.Outcome) -> None:
        """Say all that is left, then the metadata, then close."""
        if self._ending is None and not self._trouble.is_stalled:
            self._is_finishing = True
            self._outcome = outcome
            self._ending = asyncio.create_task(self._say_goodbye(code, reason))

    def _fail(self) -> None:
        self._end(_INVALID, messages.UNDECODABLE_REASON, journal.Outcome.ERROR)

    def _go_deaf(self) -> None:
        self._end(_INTERNAL, messages.NO_TEXT_REASON, journal.Outcome.ERROR)

    def _end(self, code: int, reason: str, outcome: journal.Outcome) -> None:
        """Close without another word."""
        if self._ending is None:
            self._is_finishing = False
            self._outcome = outcome
            self._ending = asyncio.create_task(self._close(code, reason))

    async def _say_goodbye(self, code: int, reason: str) -> None:
        try:
            await self._decoder.finish()
            if self._ear is not None:
                await self._ear.finish()
        except decoding.Undecodable:
            self._outcome = journal.Outcome.ERROR
            await self._close(_INVALID, messages.UNDECODABLE_REASON)
            return
        self._outbox.put(self._writer.metadata(seconds=self.seconds))
        await self._close(code, reason)

    async def _close(self, code: int, reason: str) -> None:
        # One that does not read cannot hold up the end for ever.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._outbox.drain()
        self.entry.close_code = code
        await self._socket.close(code=code, message=reason.encode())

    def _note_departure(self) -> None:
        """Write down how the client left, unless the end came from here."""
        if self.entry.close_code is not None:
            return
        code = self._socket.close_code
        self.entry.close_code = (
            aiohttp.WSCloseCode.ABNORMAL_CLOSURE if code in _GONE else code
        )
        is_proper = code == _NORMAL
        self._outcome = journal.Outcome.OK if is_proper else journal.Outcome.ABORTED

    def _close_entry(self) -> None:
        self._note_departure()
        self.entry.duration = round(self.seconds, 6)
        self._emulator.journal.close(
            self.entry,
            status=SWITCHING_PROTOCOLS,
            outcome=self._outcome,
            now=time.time(),
        )

    async def _let_go(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
        await self._decoder.close()
        if self._ear is not None:
            await self._ear.close()
        await self._outbox.close()

    def _open_decoder(self) -> decoding.Decoder:
        raw = self._wanted.options.shape.raw
        if raw is not None and raw.encoding in live_options.RAW_ENCODINGS:
            return decoding.RawDecoder(raw, self._hear)
        if raw is not None and raw.encoding == "opus":
            return packets.OpusDecoder(raw.channels, self._hear)
        head = live_options.HEADS.get(self._wanted.encoding, b"")
        return containers.ContainerDecoder(self._hear, self._fail, head=head)

    def _open_ear(self, sound: decoding.Sound) -> events.Ear:
        is_split = self._wanted.is_multichannel
        self._writer.channels = sound.channels if is_split else 1
        stream = live_engines_base.Stream(
            sample_rate=sound.sample_rate,
            channels=sound.channels,
            is_multichannel=is_split,
            manner=self._wanted.manner,
            say=self._say,
            fail=self._go_deaf,
        )
        return self._emulator.audience.open_ear(stream)
