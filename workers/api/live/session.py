"""One live session: two tasks for the client, and one that keeps the upstream.

The client's socket outlives the upstream's (``workers.api.live.upstream_connection``). Whatever ends the
session, what was said by then is stored and its job ends.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings

from jobs.egress.addresses import IPAddress
from jobs.errors import InvalidRequest, ServiceUnavailable
from jobs.models import Job
from jobs.telemetry import tracing
from transcripts.live import sessions as live_sessions
from transcripts.live.sessions import EndOfSession, FinalResult
from workers.api.live import close_reasons
from workers.api.live.calls import UpstreamCalls
from workers.api.live.chunks import Chunk, TooMuchAudio, make_chunker
from workers.api.live.finals import get_writer
from workers.api.live.handshake import OpenedSession
from workers.api.live.registry import get_heartbeat
from workers.api.live.replay_buffer import ReplayBuffer
from workers.api.live.send_queue import SendQueue, SlowClient
from workers.api.live.socket import ClientDisconnected, ClientSocket, TokenBucket
from workers.api.live.threads import in_ending_thread, in_thread
from workers.api.live.upstream_connection import UpstreamConnection
from workers.api.live.wire_format import (
    ClientCommand,
    CloseReason,
    MessageKind,
    ServerMessage,
)

logger = logging.getLogger(__name__)

MAX_FRAME_BYTES = 1024**2
TICK_SECONDS = 0.25
# A live source cannot wait; whoever is further ahead of its clock can.
LIVE_SLACK_SECONDS = 5.0
# Text is for commands; audio that comes faster than this is taken no faster.
TEXTS = (10.0, 60.0)
AUDIO_MESSAGES = (2000.0, 4000.0)
AUDIO_BYTES = (4.0 * 1024**2, 8.0 * 1024**2)
# In real time no codec sends more messages this short. A flood of them is not slowed
# down but ended: what waits in the network would keep the session for minutes.
SMALL_BYTES = 32
SMALL_MESSAGES = (500.0, 4000.0)
GOODBYE_SECONDS = 2.0
LET_GO_SECONDS = 0.5
SILENT_DRAIN_SECONDS = 0.5
# A client that disconnects gives its session's place back within a second.
GONE_DRAIN_SECONDS = 0.6


class LiveSession:
    """What a session is made of, and how it ends."""

    def __init__(self, opened: OpenedSession, socket: ClientSocket) -> None:
        self._opened, self._socket = opened, socket
        self._dialect = opened.dialect
        self._began = self._heard_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._audio_at = self._began
        self._is_client_gone = False
        self._cutter = make_chunker(
            opened.job.options, max_seconds=settings.LIVE_MAX_SECONDS
        )
        self._first_audio_at = 0.0
        self._backlog = ReplayBuffer(settings.LIVE_BUFFER_SECONDS)
        self._outbox = SendQueue(self._send, seconds=settings.LIVE_SLOW_SECONDS)
        self._seq = 0
        self._stored: asyncio.Future[bool] | None = None
        self._over: asyncio.Future[CloseReason] = self._loop.create_future()
        self._has_warned_unstored = False
        self._letting_go: asyncio.Task[None] | None = None
        self._texts, self._small = TokenBucket(*TEXTS), TokenBucket(*SMALL_MESSAGES)
        self._frames, self._bytes = (
            TokenBucket(*AUDIO_MESSAGES),
            TokenBucket(*AUDIO_BYTES),
        )
        self._link = UpstreamConnection(
            calls=UpstreamCalls(opened.job, opened.attempt),
            backlog=self._backlog,
            cutter=self._cutter,
            listener=self,
        )

    async def run(self) -> None:
        """Serve it to its end."""
        tasks = [
            self._loop.create_task(each)
            for each in (
                self._read(),
                self._guard(self._outbox.run()),
                self._guard(self._link.run()),
                self._watch(),
            )
        ]
        reading, telling, linking, watching = tasks
        try:
            self._tell_ready()
            end = await self._over
            reading.cancel()
            watching.cancel()
            await self._drain(linking, end)
            job = await self._finish()
            logger.info("live session ended", extra={"reason": end.reason})
            # Before a goodbye that nobody may listen to; Redis may be slow to answer.
            await asyncio.wait([self._let_go()], timeout=LET_GO_SECONDS)
            await self._say_goodbye(telling, end, job)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._let_go()

    def _let_go(self) -> "asyncio.Task[None]":
        """Give the place back, once."""
        if self._letting_go is None:
            going = in_thread(get_heartbeat().remove, self._link.calls.job)
            self._letting_go = self._loop.create_task(going)
        return self._letting_go

    # --- from any thread

    @property
    def key_use(self) -> tuple[UUID, IPAddress | None]:
        """Whose key opened it, and from where."""
        return self._opened.api_key.pk, self._opened.address

    @property
    def place(self) -> "tuple[str, UUID]":
        """The region that the session's call is in, and its tenant."""
        job = self._link.calls.job
        return job.region_id or "", job.tenant_id

    def silent_for(self, now: float) -> float:
        """Return for how many seconds no audio came."""
        return now - self._audio_at

    def yield_place(self, seconds: float) -> None:
        """End a session without audio: other callers are refused a place."""
        end = close_reasons.no_audio(seconds, is_contended=True)
        self._loop.call_soon_threadsafe(self.end, end)

    def shut_down(self) -> None:
        """End it: the process stops."""
        self._loop.call_soon_threadsafe(self.end, close_reasons.SHUTDOWN)

    def lose(self) -> None:
        """End it: its job was ended by somebody else."""
        self._loop.call_soon_threadsafe(self.end, close_reasons.CANCELED)

    def lose_key(self) -> None:
        """End it: its key may not be used any more."""
        self._loop.call_soon_threadsafe(self.end, close_reasons.KEY_ENDED)

    # --- from the link

    def end(self, end: CloseReason) -> None:
        """End the session; the first reason stands."""
        if not self._over.done():
            self._over.set_result(end)

    def tell(self, told: ServerMessage) -> None:
        """Tell the client."""
        try:
            self._outbox.put(told)
        except SlowClient:
            self.end(close_reasons.SLOW_READER)

    def tell_final(self, told: ServerMessage, *, alternative: dict[str, Any]) -> None:
        """Store what is final, then tell it."""
        self._seq += 1
        fields = told.fields
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
            self._outbox.put(told, stored=self._stored)
        except SlowClient:
            self.end(close_reasons.SLOW_READER)
        except ServiceUnavailable as error:
            self.end(close_reasons.unavailable(error.code))

    # --- the client

    async def _read(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                self._heard_at = time.monotonic()
                if isinstance(message, str):
                    self._obey(message)
                elif message or not self._dialect.empty:
                    await self._take(message)
                else:
                    self._do(self._dialect.empty)
        except ClientDisconnected as gone:
            self._is_client_gone = True
            self.end(
                close_reasons.CLIENT_CLOSED
                if gone.is_orderly
                else close_reasons.CLIENT_GONE
            )
        except Exception:
            logger.exception("live session failed")
            self.end(close_reasons.SERVER_ERROR)

    def _obey(self, text: str) -> None:
        if self._texts.take(1):
            self.end(close_reasons.FLOOD)
            return
        if len(text) > self._dialect.max_text:
            self.end(close_reasons.text_too_large(self._dialect.max_text))
            return
        try:
            said = self._dialect.parse(text)
        except InvalidRequest as error:
            self.end(close_reasons.message_invalid(error.code, error.message))
            return
        if isinstance(said, ServerMessage):
            self.tell(said)
        else:
            self._do(said)

    def _do(self, command: ClientCommand | None) -> None:
        if command == ClientCommand.CLOSE:
            self.end(close_reasons.CLIENT_CLOSED)
        elif command == ClientCommand.FINALIZE:
            end = self._cutter.lasts()
            self._backlog.push(Chunk(data=b"", start=end), end=end)
            self._link.wake()

    async def _take(self, audio: bytes) -> None:
        if len(audio) > MAX_FRAME_BYTES:
            self.end(close_reasons.frame_too_large(MAX_FRAME_BYTES))
            return
        if len(audio) < SMALL_BYTES and self._small.take(1):
            self.end(close_reasons.SMALL_MESSAGES)
            return
        if audio:
            self._keep(audio, now=time.monotonic())
        wait = max(self._frames.take(1), self._bytes.take(len(audio)))
        if wait:
            await asyncio.sleep(wait)
        while self._must_wait():
            # The platform does not read: the client is not silent.
            self._heard_at = self._audio_at = math.inf
            await self._link.wait_for_room()
        self._heard_at = time.monotonic()
        if audio or math.isinf(self._audio_at):
            self._audio_at = self._heard_at

    def _keep(self, audio: bytes, *, now: float) -> None:
        self._first_audio_at = self._first_audio_at or now
        try:
            pieces = self._cutter.cut(bytes(audio), at=now - self._first_audio_at)
        except TooMuchAudio:
            self.end(close_reasons.too_long(settings.LIVE_MAX_SECONDS))
            return
        except InvalidRequest as error:
            self.end(close_reasons.message_invalid(error.code, error.message))
            return
        for piece in pieces:
            self._backlog.push(piece, end=piece.start + piece.seconds)
        self._link.wake()

    def _must_wait(self) -> bool:
        """Tell whether the client is to be slowed down, by not reading it."""
        if self._link.is_connected:
            return self._backlog.is_ahead
        elapsed = time.monotonic() - self._first_audio_at
        is_live = self._backlog.end < elapsed + LIVE_SLACK_SECONDS
        return self._backlog.is_full and not is_live

    async def _send(self, told: ServerMessage) -> None:
        text = self._dialect.encode(told)
        if text is not None:
            await self._socket.send(text)
        if self._outbox.is_unstored and not self._has_warned_unstored:
            self._has_warned_unstored = True
            detail = "The database is away: what is told now is stored later."
            fields = {"code": "finals_not_stored", "detail": detail}
            self.tell(ServerMessage(kind=MessageKind.WARNING, fields=fields))

    async def _watch(self) -> None:
        """End a session that is silent or too long, and a call that is stalled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - self._heard_at > settings.LIVE_IDLE_SECONDS:
                self.end(close_reasons.idle(settings.LIVE_IDLE_SECONDS))
            if now - self._audio_at > settings.LIVE_KEEPALIVE_SECONDS:
                self.end(close_reasons.no_audio(settings.LIVE_KEEPALIVE_SECONDS))
            longest = max(now - self._began, self._cutter.lasts())
            if longest > settings.LIVE_MAX_SECONDS:
                self.end(close_reasons.too_long(settings.LIVE_MAX_SECONDS))
            self._link.check_call(now)

    # --- the end

    async def _drain(self, linking: "asyncio.Task[None]", end: CloseReason) -> None:
        """Have the upstream say its last words, for so long and no longer."""
        seconds = settings.LIVE_DRAIN_SECONDS
        if end is close_reasons.SHUTDOWN:
            seconds = min(seconds, settings.LIVE_SHUTDOWN_SECONDS)
        if end is close_reasons.CANCELED or self._link.error:
            seconds = 0.0
        elif not self._cutter.lasts():
            seconds = min(seconds, SILENT_DRAIN_SECONDS)  # it has nothing to say
        if self._is_client_gone:
            seconds = min(seconds, GONE_DRAIN_SECONDS)
        self._link.finish()
        await asyncio.wait([linking], timeout=seconds)
        if self._is_client_gone:
            self._link.abandon()
        linking.cancel()
        await asyncio.wait([linking])

    async def _finish(self) -> Job:
        if self._stored is not None and not self._stored.done():
            # It may be long: the database is away. What waits is stored before.
            await asyncio.wait([self._stored])
        ending = EndOfSession(
            audio_seconds=self._audio_seconds(),
            seconds=self._link.seconds_heard,
            channels=self._link.clock.channels,
            request_id=self._link.request_id,
            model_info=self._link.model_info,
            error=self._link.error,
            warnings=tuple(self._warnings()),
        )
        with tracing.span("store"):
            return await in_ending_thread(
                live_sessions.finish_session,
                job=self._link.calls.job,
                attempt=self._link.calls.attempt,
                ending=ending,
            )

    async def _say_goodbye(
        self, telling: "asyncio.Task[None]", end: CloseReason, job: Job
    ) -> None:
        if end.error_code:
            fields = {"code": end.error_code, "detail": end.detail}
            self._outbox.put_last(ServerMessage(kind=MessageKind.ERROR, fields=fields))
        self._outbox.put_last(
            ServerMessage(
                kind=MessageKind.CLOSED,
                fields={
                    "job_id": str(job.pk),
                    "reason": end.reason,
                    "audio_seconds": round(self._audio_seconds(), 3),
                    "status": str(job.status),
                },
            )
        )
        self._outbox.finish()
        if end is not close_reasons.SLOW_READER and not self._is_client_gone:
            await asyncio.wait([telling], timeout=settings.LIVE_SLOW_SECONDS)
        code, reason = self._dialect.closing(end)
        await self._socket.close(code, reason, within=GOODBYE_SECONDS)

    def _tell_ready(self) -> None:
        job = self._opened.job
        self.tell(
            ServerMessage(
                kind=MessageKind.READY,
                fields={
                    "job_id": str(job.pk),
                    "region": self._opened.attempt.region_id,
                    "model": str(job.options.get("model", "")),
                    "max_seconds": settings.LIVE_MAX_SECONDS,
                    "idle_seconds": settings.LIVE_IDLE_SECONDS,
                    "max_frame_bytes": MAX_FRAME_BYTES,
                },
            )
        )

    def _audio_seconds(self) -> float:
        return max(self._cutter.lasts(), self._link.clock.final)

    def _warnings(self) -> Sequence[dict[str, str]]:
        lost = self._link.lost_seconds
        if not lost:
            return ()
        detail = f"{lost:.1f} s of audio were lost while the upstream was away."
        return ({"code": "audio_dropped", "detail": detail},)

    def _check_stored(self, stored: "asyncio.Future[bool]") -> None:
        if not stored.cancelled() and not stored.result():
            self.end(close_reasons.CANCELED)

    async def _guard(self, work: Any) -> None:
        """End the session if a task of it does in an unforeseen way."""
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await work
        except SlowClient:
            self.end(close_reasons.SLOW_READER)
        except ClientDisconnected:
            self.end(close_reasons.CLIENT_GONE)
        except Exception:
            logger.exception("live session failed")
            self.end(close_reasons.SERVER_ERROR)
