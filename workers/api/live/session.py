"""One live session: tasks that read the client, send to it, and connect to Deepgram.

The client's socket outlives Deepgram's (see ``upstream.connection``). However the
session ends, its results are stored and its job becomes final.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings

from jobs.egress.addresses import IPAddress
from jobs.errors import InvalidRequest, ServiceUnavailable
from jobs.models import Job
from jobs.telemetry import tracing
from transcripts.live import sessions as live_sessions
from transcripts.live.closing import EndOfSession
from transcripts.live.sessions import FinalResult
from workers.api.live.close_reasons import close_reason
from workers.api.live.finals import get_writer
from workers.api.live.handshake import OpenedSession
from workers.api.live.registry import get_heartbeat
from workers.api.live.send_queue import SendQueue, SlowClient
from workers.api.live.socket import ClientDisconnected, ClientSocket, TokenBucket
from workers.api.live.threads import in_closing_thread, in_thread
from workers.api.live.upstream.calls import UpstreamCalls
from workers.api.live.upstream.chunks import Chunk, TooMuchAudio, build_chunker
from workers.api.live.upstream.connection import UpstreamConnection
from workers.api.live.upstream.replay_buffer import ReplayBuffer
from workers.api.live.wire_format import (
    ClientCommand,
    CloseReason,
    ConfigureRequest,
    MessageKind,
    ServerMessage,
    build_warning,
)

logger = logging.getLogger(__name__)

MAX_FRAME_BYTES = 1024**2
TICK_SECONDS = 0.25
# A client further ahead of real time than this can be slowed down.
LIVE_SLACK_SECONDS = 5.0
# Token buckets (per second, burst): a client that exceeds them is read more slowly.
TEXTS = (10.0, 60.0)
AUDIO_MESSAGES = (2000.0, 4000.0)
AUDIO_BYTES = (4.0 * 1024**2, 8.0 * 1024**2)
# No codec sends more messages this short in real time. Exceeding it closes the session,
# because the messages buffered in the network would take minutes to read.
SMALL_BYTES = 32
SMALL_MESSAGES = (100.0, 200.0)
CLOSE_SECONDS = 2.0
RELEASE_SECONDS = 0.5
SILENT_DRAIN_SECONDS = 0.5
# The longest wait for last results, in units of LIVE_DRAIN_SECONDS.
MAX_DRAINS = 6
ORDERLY = 1000
INCOMPLETE = {
    "code": "results_incomplete",
    "detail": "Deepgram had not sent its last results; the last words are provisional.",
}
# After a disconnect the permit is released within a second.
DISCONNECTED_DRAIN_SECONDS = 0.6


class LiveSession:
    """A live session from the accepted handshake to the close."""

    def __init__(self, opened: OpenedSession, socket: ClientSocket) -> None:
        self._opened, self._socket = opened, socket
        self._wire_format = opened.wire_format
        self._started_at = self._received_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._audio_at = self._started_at
        self._is_client_disconnected = self._is_incomplete = False
        self._chunker = build_chunker(
            opened.job.options, max_seconds=settings.LIVE_MAX_SECONDS
        )
        self._first_audio_at = 0.0
        self._replay_buffer = ReplayBuffer(settings.LIVE_BUFFER_SECONDS)
        self._send_queue = SendQueue(self._send, seconds=settings.LIVE_SLOW_SECONDS)
        self._seq = 0
        self._stored: asyncio.Future[bool] | None = None
        self._closed: asyncio.Future[CloseReason] = self._loop.create_future()
        self._has_warned_unstored = False
        self._release_task: asyncio.Task[None] | None = None
        self._texts, self._small = TokenBucket(*TEXTS), TokenBucket(*SMALL_MESSAGES)
        self._frames, self._bytes = (
            TokenBucket(*AUDIO_MESSAGES),
            TokenBucket(*AUDIO_BYTES),
        )
        self._upstream = UpstreamConnection(
            calls=UpstreamCalls(opened.job, opened.attempt),
            replay_buffer=self._replay_buffer,
            chunker=self._chunker,
            listener=self,
        )

    async def run(self) -> None:
        """Run the session.

        1. Start the tasks: read the client, send to it, run the upstream, check limits.
        2. Send `ready` and wait for the first close reason.
        3. Drain: request the last results from Deepgram.
        4. Store the results and finish the job.
        5. Release the place and the permit; send `closed` and close the socket.
        """
        tasks = [
            self._loop.create_task(work)
            for work in (
                self._read(),
                self._guard(self._send_queue.run()),
                self._guard(self._upstream.run()),
                self._watch(),
            )
        ]
        reading, sending, connecting, watching = tasks
        try:
            self._send_ready()
            reason = await self._closed
            reading.cancel()
            watching.cancel()
            await self._drain(connecting, reason)
            if self._is_incomplete and reason.code == ORDERLY:
                reason = close_reason("results_incomplete")
            job = await self._store()
            logger.info("live session ended", extra={"reason": reason.reason})
            # Before the close, which a client may delay; limited, as Redis may be slow.
            await asyncio.wait([self._release_permit()], timeout=RELEASE_SECONDS)
            await self._send_closing(sending, reason, job)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._release_permit()

    def _release_permit(self) -> "asyncio.Task[None]":
        """Stop the job's renewal and release its permit, once."""
        if self._release_task is None:
            removal = in_thread(get_heartbeat().remove, [self._upstream.calls.job])
            self._release_task = self._loop.create_task(removal)
        return self._release_task

    # --- called from any thread

    @property
    def key_use(self) -> tuple[UUID, IPAddress | None]:
        """The API key's ID and the client's address."""
        return self._opened.api_key.pk, self._opened.address

    @property
    def region_and_tenant(self) -> tuple[str, UUID]:
        """The region of the call, and the tenant's ID."""
        job = self._upstream.calls.job
        return job.region_id or "", job.tenant_id

    def silent_for(self, now: float) -> float:
        """Return the seconds since the last audio."""
        return now - self._audio_at

    def close_from_thread(self, name: str, **values: Any) -> None:
        """Close the session, called from any thread."""
        self._loop.call_soon_threadsafe(partial(self.close, name, **values))

    # --- called by the upstream connection

    def close(self, name: str, **values: Any) -> None:
        """Close the session for a reason of ``close_reasons``; ignore later ones."""
        if not self._closed.done():
            self._closed.set_result(close_reason(name, **values))

    def send_message(self, message: ServerMessage) -> None:
        """Queue a message to the client."""
        try:
            self._send_queue.put(message)
        except SlowClient:
            self.close("slow_reader")

    def send_final(
        self, message: ServerMessage, *, alternative: dict[str, Any]
    ) -> None:
        """Store a final result, then send it."""
        self._seq += 1
        fields = message.fields
        final = FinalResult(
            job_id=self._opened.job.pk,
            seq=self._seq,
            channel=fields["channel"],
            start=fields["start"],
            end=fields["end"],
            speech_final=fields["speech_final"],
            alternative=alternative,
        )
        try:
            self._stored = get_writer().put(final)
            self._stored.add_done_callback(self._check_stored)
            self._send_queue.put(message, stored=self._stored)
        except SlowClient:
            self.close("slow_reader")
        except ServiceUnavailable as error:
            self.close("unavailable", error_code=error.code)

    # --- the client

    async def _read(self) -> None:
        try:
            while True:
                data = await self._socket.receive()
                self._received_at = time.monotonic()
                if isinstance(data, str):
                    self._handle_text(data)
                elif data or not self._wire_format.empty:
                    await self._handle_audio(data)
                else:
                    self._execute(self._wire_format.empty)
        except ClientDisconnected as error:
            self._is_client_disconnected = True
            self.close("client_closed" if error.is_orderly else "client_gone")
        except Exception:
            logger.exception("live session failed")
            self.close("server_error")

    def _handle_text(self, text: str) -> None:
        if self._texts.consume(1):
            self.close("flood")
            return
        if len(text) > self._wire_format.max_text:
            self.close("text_too_large", limit=self._wire_format.max_text)
            return
        try:
            parsed = self._wire_format.parse(text)
        except InvalidRequest as error:
            self.close("message_invalid", error_code=error.code, detail=error.message)
            return
        if isinstance(parsed, ServerMessage):
            self.send_message(parsed)
        elif isinstance(parsed, ConfigureRequest):
            self._upstream.configure(parsed)
        else:
            self._execute(parsed)

    def _execute(self, command: ClientCommand | None) -> None:
        if command == ClientCommand.CLOSE:
            self.close("client_closed")
        elif command == ClientCommand.FINALIZE:
            end = self._chunker.duration()
            self._replay_buffer.push(Chunk(data=b"", start=end), end=end)
            self._upstream.wake()

    async def _handle_audio(self, audio: bytes) -> None:
        if len(audio) > MAX_FRAME_BYTES:
            self.close("frame_too_large", limit=MAX_FRAME_BYTES)
            return
        if len(audio) < SMALL_BYTES and self._small.consume(1):
            self.close("small_messages")
            return
        if audio:
            self._buffer_audio(audio, now=time.monotonic())
        wait = max(self._frames.consume(1), self._bytes.consume(len(audio)))
        if wait:
            await asyncio.sleep(wait)
        while self._is_throttled():
            # While the platform does not read, the client does not count as silent.
            self._received_at = self._audio_at = math.inf
            await self._upstream.wait_for_room()
        self._received_at = time.monotonic()
        if audio or math.isinf(self._audio_at):
            self._audio_at = self._received_at

    def _buffer_audio(self, audio: bytes, *, now: float) -> None:
        self._first_audio_at = self._first_audio_at or now
        try:
            chunks = self._chunker.split(bytes(audio), at=now - self._first_audio_at)
        except TooMuchAudio:
            self.close("max_duration", seconds=settings.LIVE_MAX_SECONDS)
            return
        except InvalidRequest as error:
            self.close("message_invalid", error_code=error.code, detail=error.message)
            return
        for chunk in chunks:
            self._replay_buffer.push(chunk, end=chunk.start + chunk.seconds)
        self._upstream.wake()

    def _is_throttled(self) -> bool:
        """Return whether to stop reading the client, which slows it down."""
        if self._upstream.is_connected:
            return self._replay_buffer.is_ahead
        elapsed = time.monotonic() - self._first_audio_at
        is_live = self._replay_buffer.end < elapsed + LIVE_SLACK_SECONDS
        return self._replay_buffer.is_full and not is_live

    async def _send(self, message: ServerMessage) -> None:
        text = self._wire_format.encode(message)
        if text is not None:
            await self._socket.send(text)
        if self._send_queue.is_unstored and not self._has_warned_unstored:
            self._has_warned_unstored = True
            detail = "The database is unavailable. Results are sent now, stored later."
            self.send_message(build_warning(code="finals_not_stored", detail=detail))

    async def _watch(self) -> None:
        """Close a silent or too long session; abort a stalled call."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - self._received_at > settings.LIVE_IDLE_SECONDS:
                self.close("idle", seconds=settings.LIVE_IDLE_SECONDS)
            if now - self._audio_at > settings.LIVE_KEEPALIVE_SECONDS:
                self.close("no_audio", seconds=settings.LIVE_KEEPALIVE_SECONDS)
            longest = max(now - self._started_at, self._chunker.duration())
            if longest > settings.LIVE_MAX_SECONDS:
                self.close("max_duration", seconds=settings.LIVE_MAX_SECONDS)
            self._upstream.check_call(now)

    # --- the close

    async def _drain(
        self, connecting: "asyncio.Task[None]", reason: CloseReason
    ) -> None:
        """Wait a limited time for Deepgram's last results."""
        seconds = settings.LIVE_DRAIN_SECONDS
        if reason.reason == "shutdown":
            seconds = min(seconds, settings.LIVE_SHUTDOWN_SECONDS)
        if reason.reason == "canceled" or self._upstream.error:
            seconds = 0.0
        elif not self._chunker.duration():
            seconds = min(seconds, SILENT_DRAIN_SECONDS)  # no audio, no results
        if self._is_client_disconnected:
            seconds = min(seconds, DISCONNECTED_DRAIN_SECONDS)
        self._upstream.finish()
        await self._wait_for_results(connecting, seconds, reason)
        has_words = bool(self._chunker.duration()) and reason.reason != "canceled"
        self._is_incomplete = has_words and not connecting.done()
        if self._is_client_disconnected:
            self._upstream.abort()
        connecting.cancel()
        await asyncio.wait([connecting])
        self._upstream.give_up_configure(before=math.inf)
        if self._is_incomplete:
            self._upstream.keep_interims()
            self.send_message(build_warning(**INCOMPLETE))

    async def _wait_for_results(
        self, connecting: "asyncio.Task[None]", seconds: float, reason: CloseReason
    ) -> None:
        """Wait until all results have arrived, or none for ``seconds``.

        Longer than ``seconds`` only while Deepgram sends and the client waits.
        """
        end = time.monotonic() + seconds * MAX_DRAINS
        is_extended = not self._is_client_disconnected and reason.reason != "shutdown"
        wait = seconds
        while True:
            await asyncio.wait([connecting], timeout=wait)
            now = time.monotonic()
            wait = min(self._upstream.heard_at + seconds, end) - now
            if connecting.done() or not is_extended or wait <= 0:
                return

    async def _store(self) -> Job:
        if self._stored is not None and not self._stored.done():
            # Long if the database is unavailable: results are stored first.
            await asyncio.wait([self._stored])
        ending = EndOfSession(
            audio_seconds=self._audio_seconds(),
            seconds=self._upstream.sent_seconds,
            channels=self._upstream.clock.channels,
            request_id=self._upstream.request_id,
            model_info=self._upstream.model_info,
            error=self._upstream.error,
            warnings=tuple(self._warnings()),
        )
        with tracing.span("store"):
            return await in_closing_thread(
                live_sessions.finish_session,
                job=self._upstream.calls.job,
                attempt=self._upstream.calls.attempt,
                ending=ending,
            )

    async def _send_closing(
        self, sending: "asyncio.Task[None]", reason: CloseReason, job: Job
    ) -> None:
        if reason.error_code:
            error = {"code": reason.error_code, "detail": reason.detail}
            self._send_queue.put_last(ServerMessage(MessageKind.ERROR, error))
        closed = {
            "job_id": str(job.pk),
            "reason": reason.reason,
            "audio_seconds": round(self._audio_seconds(), 3),
            "status": str(job.status),
        }
        self._send_queue.put_last(ServerMessage(MessageKind.CLOSED, closed))
        self._send_queue.finish()
        is_readable = reason.reason != "slow_reader"
        if is_readable and not self._is_client_disconnected:
            await asyncio.wait([sending], timeout=settings.LIVE_SLOW_SECONDS)
        code, text = self._wire_format.closing(reason)
        await self._socket.close(code, text, within=CLOSE_SECONDS)

    def _send_ready(self) -> None:
        job = self._opened.job
        ready = {
            "job_id": str(job.pk),
            "region": self._opened.attempt.region_id,
            "model": str(job.options.get("model", "")),
            "max_seconds": settings.LIVE_MAX_SECONDS,
            "idle_seconds": settings.LIVE_IDLE_SECONDS,
            "max_frame_bytes": MAX_FRAME_BYTES,
        }
        self.send_message(ServerMessage(MessageKind.READY, ready))

    def _audio_seconds(self) -> float:
        return max(self._chunker.duration(), self._upstream.clock.final)

    def _warnings(self) -> Sequence[dict[str, str]]:
        found = []
        if lost := self._upstream.lost_seconds:
            detail = f"{lost:.1f} s of audio were lost while Deepgram was unavailable."
            found.append({"code": "audio_dropped", "detail": detail})
        return [*found, INCOMPLETE] if self._is_incomplete else found

    def _check_stored(self, stored: "asyncio.Future[bool]") -> None:
        if not stored.cancelled() and not stored.result():
            self.close("canceled")

    async def _guard(self, work: Any) -> None:
        """Close the session if a task fails."""
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await work
        except SlowClient:
            self.close("slow_reader")
        except ClientDisconnected:
            self.close("client_gone")
        except Exception:
            logger.exception("live session failed")
            self.close("server_error")
