"""One live stream, from its handshake to its close code.

At the end the journal entry is closed and all tasks are stopped.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import aiohttp
from aiohttp import web

from workers.emulator import faults, journal, state
from workers.emulator.engines.live import base, events
from workers.emulator.faults import injection
from workers.emulator.live import (
    containers,
    decoding,
    live_options,
    messages,
    send_queue,
    stream_faults,
    turns,
)

# Maximum size of a frame.
MAX_FRAME_BYTES = 16 * 1024 * 1024
SWITCHING_PROTOCOLS = 101

_DRAIN_SECONDS = 10.0
_NORMAL = aiohttp.WSCloseCode.OK
_INVALID = aiohttp.WSCloseCode.POLICY_VIOLATION
_INTERNAL = aiohttp.WSCloseCode.INTERNAL_ERROR
_ABNORMAL = frozenset({None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE})


class Session:
    """One live stream; `run` returns when it has ended."""

    def __init__(
        self,
        emulator: state.Emulator,
        request: web.Request,
        *,
        entry: journal.Entry,
        params: live_options.LiveOptions,
        chosen: Sequence[faults.Fault],
    ) -> None:
        self.entry = entry
        self.seconds = 0.0
        self._emulator = emulator
        self._request = request
        self._params = params
        self._stream_faults = stream_faults.StreamFaults(chosen)
        self._socket = web.WebSocketResponse(
            protocols=("token", "bearer"),
            compress=False,
            max_msg_size=MAX_FRAME_BYTES,
            autoclose=True,
        )
        self._socket.headers["dg-request-id"] = entry.request_id
        self._recognizer: events.RecognizerSession | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_finishing = False
        self._outcome = journal.Outcome.ABORTED
        self._send_queue = send_queue.SendQueue(self._socket)
        self._decoder = self._open_decoder()
        raw = params.options.shape.raw
        self._writer: messages.MessageWriter | turns.TurnWriter
        if params.thresholds is not None:
            self._writer = turns.TurnWriter(
                request_id=entry.request_id, thresholds=params.thresholds
            )
            return
        self._writer = messages.MessageWriter(
            request_id=entry.request_id,
            created=journal.format_time(entry.started_at) or "",
            engine=emulator.transcriber.engine.name,
            shape=params.options.shape,
            channels=raw.channels if raw and params.is_multichannel else 1,
        )

    async def run(self) -> web.WebSocketResponse:
        """Exchange messages until the client or the emulator closes the stream."""
        await self._socket.prepare(self._request)
        self._send_queue.open()
        self._put(self._writer.open())
        self._emulator.streams.add(self)
        try:
            await self._apply_initial_faults()
            await self._receive_frames()
            if self._closing is not None:
                await self._closing
        finally:
            self._emulator.streams.discard(self)
            self._close_entry()
            # Runs to its end even if the client disconnects now.
            await asyncio.shield(asyncio.create_task(self._release()))
        return self._socket

    def cut(self, *, is_reset: bool) -> None:
        """Close the stream with a RST, or with 1011 NET-0000."""
        self._outcome = journal.Outcome.FAULT
        if is_reset:
            self.entry.close_code = aiohttp.WSCloseCode.ABNORMAL_CLOSURE
            injection.hang_up(self._request, is_reset=True)
        else:
            self._end(_INTERNAL, messages.NO_TEXT_REASON, journal.Outcome.FAULT)

    async def _receive_frames(self) -> None:
        """Handle frames; close the stream when none arrives for too long."""
        loop = asyncio.get_running_loop()
        last_message_at = loop.time()
        while self._closing is None:
            remaining = (
                last_message_at
                + self._emulator.tuning.stream_idle_seconds
                - loop.time()
            )
            timeout = None if self._stream_faults.is_stalled else max(remaining, 0.001)
            try:
                frame = await self._socket.receive(timeout)
            except TimeoutError:
                self._finish(_INTERNAL, messages.IDLE_REASON, journal.Outcome.ERROR)
                return
            if frame.type is aiohttp.WSMsgType.BINARY:
                last_message_at = loop.time()
                await self._handle_audio(frame.data)
            elif frame.type is aiohttp.WSMsgType.TEXT:
                # Text messages do not keep a stream open that never had audio.
                if self.entry.size_bytes:
                    last_message_at = loop.time()
                await self._handle_text(frame.data)
            else:
                return

    async def _handle_audio(self, payload: bytes) -> None:
        if not payload:
            self._finish(_NORMAL, "", journal.Outcome.OK)
            return
        self.entry.size_bytes += len(payload)
        try:
            await self._decoder.feed(payload)
        except decoding.Undecodable:
            self._fail()
        await self._send_queue.wait_for_room()

    async def _handle_text(self, text: str) -> None:
        try:
            is_flux = self._params.thresholds is not None
            names = turns.CONTROLS if is_flux else messages.CONTROLS
            control = messages.read_control(text, names)
        except messages.SchemaError as error:
            self._send_queue.put(messages.schema_error(text, error))
            return
        match control.kind:
            case "CloseStream":
                self._finish(_NORMAL, "", journal.Outcome.OK)
            case "Finalize" | "ForceEndTurn" if self._recognizer is not None:
                await self._recognizer.finalize(control.channel)
            case "Configure":
                self._send_queue.put(self._writer.configured(control))

    async def _recognize(self, pcm: decoding.PcmChunk) -> None:
        """Pass samples to the recognizer; called in order."""
        if self._closing is not None and not self._is_finishing:
            return
        if self._recognizer is None:
            self._recognizer = self._open_recognizer(pcm)
        await self._recognizer.recognize(pcm.samples)
        frames = len(pcm.samples) / (2 * pcm.channels)
        self.seconds += frames / pcm.sample_rate
        self._apply_due_faults()

    def _send_event(self, event: events.Event) -> None:
        if isinstance(event, events.Result):
            self._stream_faults.count_result()
            if self._stream_faults.has_empty_results:
                event = stream_faults.remove_words(event)
        for text in self._writer.write(event):
            self._send_queue.put(text)

    def _put(self, text: str | None) -> None:
        if text is not None:
            self._send_queue.put(text)

    def _apply_due_faults(self) -> None:
        """Apply the faults that are due."""
        for kind in self._stream_faults.due(self.seconds):
            match kind:
                case faults.Kind.STALL:
                    self._send_queue.is_silent = True
                case faults.Kind.CUT:
                    self.cut(is_reset=True)
                case faults.Kind.BYE:
                    self.cut(is_reset=False)

    async def _apply_initial_faults(self) -> None:
        self._send_queue.delay_seconds = self._stream_faults.delay_seconds
        for text in self._stream_faults.invalid_messages:
            self._send_queue.put(text)
        self._apply_due_faults()
        await asyncio.sleep(self._stream_faults.noread_seconds)

    def _finish(self, code: int, reason: str, outcome: journal.Outcome) -> None:
        """Send the remaining results and the metadata, then close."""
        if self._closing is None and not self._stream_faults.is_stalled:
            self._is_finishing = self._writer.is_closing = True
            self._outcome = outcome
            self._closing = asyncio.create_task(self._finish_and_close(code, reason))

    def _fail(self) -> None:
        self._end(_INVALID, messages.UNDECODABLE_REASON, journal.Outcome.ERROR)

    def _fail_recognition(self) -> None:
        self._end(_INTERNAL, messages.NO_TEXT_REASON, journal.Outcome.ERROR)

    def _end(self, code: int, reason: str, outcome: journal.Outcome) -> None:
        """Close without remaining results and metadata."""
        if self._closing is None:
            self._is_finishing = False
            self._outcome = outcome
            self._closing = asyncio.create_task(self._close(code, reason))

    async def _finish_and_close(self, code: int, reason: str) -> None:
        try:
            await self._decoder.finish()
            if self._recognizer is not None:
                await self._recognizer.finish()
        except decoding.Undecodable:
            self._outcome = journal.Outcome.ERROR
            await self._close(_INVALID, messages.UNDECODABLE_REASON)
            return
        self._put(self._writer.metadata(seconds=self.seconds))
        await self._close(code, reason)

    async def _close(self, code: int, reason: str) -> None:
        # A client that does not read cannot delay the close indefinitely.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._send_queue.drain()
        self.entry.close_code = code
        await self._socket.close(code=code, message=reason.encode())

    def _record_disconnect(self) -> None:
        """Record how the client closed, unless the emulator closed the stream."""
        if self.entry.close_code is not None:
            return
        code = self._socket.close_code
        self.entry.close_code = (
            aiohttp.WSCloseCode.ABNORMAL_CLOSURE if code in _ABNORMAL else code
        )
        is_normal = code == _NORMAL
        self._outcome = journal.Outcome.OK if is_normal else journal.Outcome.ABORTED

    def _close_entry(self) -> None:
        self._record_disconnect()
        self.entry.duration = round(self.seconds, 6)
        self._emulator.journal.close(
            self.entry,
            status=SWITCHING_PROTOCOLS,
            outcome=self._outcome,
            now=time.time(),
        )

    async def _release(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        await self._decoder.close()
        if self._recognizer is not None:
            await self._recognizer.close()
        await self._send_queue.close()

    def _open_decoder(self) -> decoding.Decoder:
        raw = self._params.options.shape.raw
        if raw is not None and raw.encoding in live_options.RAW_ENCODINGS:
            return decoding.RawDecoder(raw, self._recognize)
        if raw is not None and raw.encoding == "opus":
            return decoding.OpusDecoder(raw.channels, self._recognize)
        head = live_options.HEADS.get(self._params.encoding, b"")
        return containers.ContainerDecoder(self._recognize, self._fail, head=head)

    def _open_recognizer(self, pcm: decoding.PcmChunk) -> events.RecognizerSession:
        is_split = self._params.is_multichannel
        self._writer.channels = pcm.channels if is_split else 1
        stream = base.Stream(
            sample_rate=pcm.sample_rate,
            channels=pcm.channels,
            is_multichannel=is_split,
            event_settings=self._params.event_settings,
            emit=self._send_event,
            on_failure=self._fail_recognition,
        )
        return self._emulator.recognizer_pool.open_session(stream)
