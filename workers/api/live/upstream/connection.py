"""A session's connection to Deepgram: reconnects and replays audio without a result.

A failed call is closed as an attempt and another one starts, in the same region or in
another that the job may use. Final errors are not retried.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from django.conf import settings

from jobs.backoff import Failure
from jobs.errors import StaleJobState, UpstreamError
from jobs.scheduling import claims
from jobs.telemetry import tracing
from transcripts.live.sessions import CallFailure
from workers import metrics
from workers.api.live.counters import COUNTERS
from workers.api.live.upstream import turns
from workers.api.live.upstream.alignment import SessionClock, read_channel, read_seconds
from workers.api.live.upstream.calls import RETRYABLE, UpstreamCalls, choose_pause
from workers.api.live.upstream.chunks import Chunker
from workers.api.live.upstream.configuration import RESPONSE_SECONDS, Configuration
from workers.api.live.upstream.replay_buffer import ReplayBuffer
from workers.api.live.wire_format import (
    ConfigureRequest,
    MessageKind,
    ServerMessage,
    build_transcript,
    build_warning,
)
from workers.deepgram.live import IDLE, LiveCall

logger = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 4.0
# A call open for this long counts as healthy, even without a result.
HEALTHY_SECONDS = 2.0
_UNSUPPORTED = {
    "type": "ConfigureFailure",
    "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
    "description": "This Deepgram does not support Configure.",
}
# Shorter gaps are rounding errors.
LOST_SECONDS = 0.1


class UpstreamListener(Protocol):
    """Receives the messages of the connection: the session."""

    def send_message(self, message: ServerMessage) -> None:
        """Send a message to the client."""

    def send_final(
        self, message: ServerMessage, *, alternative: dict[str, Any]
    ) -> None:
        """Store a final result, then send it."""

    def close(self, name: str, **values: Any) -> None:
        """Close the session for a reason of ``close_reasons``."""


@dataclass(slots=True)
class UpstreamOutage:
    """An outage of Deepgram, over one or more failed calls."""

    tries: int = 0
    is_reported: bool = False
    began_at: float = 0.0

    def mark_start(self, now: float) -> float:
        """Return when the outage began."""
        self.began_at = self.began_at or now
        return self.began_at


class UpstreamConnection:
    """The consecutive calls of one session."""

    def __init__(
        self,
        *,
        calls: UpstreamCalls,
        replay_buffer: ReplayBuffer,
        chunker: Chunker,
        listener: UpstreamListener,
    ) -> None:
        self.calls = calls
        self.clock = SessionClock()
        self.request_id = ""
        self.model_info: dict[str, Any] = {}
        self.error: UpstreamError | None = None
        self.lost_seconds = self.sent_seconds = 0.0
        self._replay_buffer, self._chunker = replay_buffer, chunker
        self._listener = listener
        self._call: LiveCall | None = None
        self._work, self._room = asyncio.Event(), asyncio.Event()
        self._is_finishing = False
        # When the oldest unanswered audio was sent; 0 if there is none.
        self._unanswered_at = self._opened_at = 0.0
        self._outage = UpstreamOutage()
        self._turns = turns.Turns(self.clock)
        self._configuration = Configuration()
        self.calls.changes = self._configuration.accepted
        # The last interim result of each channel that no final result has replaced.
        self._interims: dict[int, ServerMessage] = {}
        self.heard_at = 0.0
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "Results": self._handle_result,
            "UtteranceEnd": self._handle_utterance_end,
            "SpeechStarted": self._handle_speech_started,
            "TurnInfo": self._handle_turn,
            "Metadata": self._handle_metadata,
            "Connected": self._handle_metadata,
            "ConfigureSuccess": self._handle_configured,
            "ConfigureFailure": self._handle_configured,
            "Error": self._handle_error,
        }

    @property
    def is_connected(self) -> bool:
        """Whether a call is open."""
        return self._call is not None

    def wake(self) -> None:
        """Signal that there is audio to send."""
        self._work.set()

    def finish(self) -> None:
        """Signal the end of the audio."""
        self._is_finishing = True
        self._work.set()

    def configure(self, change: ConfigureRequest) -> None:
        """Forward a change of options; the client gets exactly one response."""
        refusal = self._configuration.request(change, now=time.monotonic())
        if refusal:
            self._listener.send_message(refusal)
        self._work.set()

    def give_up_configure(self, *, before: float) -> None:
        """Report a change without a response since ``before`` as failed."""
        if failure := self._configuration.give_up(before=before):
            self._listener.send_message(failure)

    def keep_interims(self) -> None:
        """Make the last interim results final, marked with ``from_interim``."""
        for message in self._interims.values():
            mark = {"is_final": True, "from_interim": True}
            upstream = {**(message.upstream or {}), **mark}
            if "channel" in upstream:
                (alternative, *_) = upstream["channel"]["alternatives"]
            elif message.fields["text"]:
                alternative = turns.build_alternative(message)
            else:
                continue
            kept = ServerMessage(message.kind, {**message.fields, **mark}, upstream)
            self._listener.send_final(kept, alternative=alternative)
        self._interims.clear()

    def abort(self) -> None:
        """Abort the open call without a close handshake."""
        if self._call:
            self._call.abort()

    async def wait_for_room(self) -> None:
        """Wait until the throttling of the client may have changed."""
        self._room.clear()
        await self._room.wait()

    def check_call(self, now: float) -> None:
        """Abort a stalled call; mark a lasting one as healthy."""
        self.give_up_configure(before=now - RESPONSE_SECONDS)
        if self._call and now - self._opened_at > HEALTHY_SECONDS:
            self._mark_healthy()
        waited = now - self._unanswered_at if self._unanswered_at else 0.0
        if self._call and waited > settings.LIVE_STALL_SECONDS:
            self._unanswered_at = 0.0
            self._call.abort()

    async def run(self) -> None:
        """Keep a call open until all audio is processed or an error is final."""
        connecting: Coroutine[Any, Any, LiveCall | None] = self.calls.open()
        while True:
            try:
                if call := await connecting:
                    with self._traced(call), self._counted():
                        await self._run_call(call)
            except UpstreamError as error:
                if not await self._should_retry(error):
                    return
                connecting = self._reconnect(error)
            except StaleJobState:
                self._listener.close("canceled")
                return
            else:
                return

    async def _should_retry(self, error: UpstreamError) -> bool:
        """Return whether to reconnect; after an idle close, wait for audio first."""
        if error.failure not in RETRYABLE:
            self._fail(error)
            return False
        if error.code == IDLE:
            while self._replay_buffer.is_drained and not self._is_finishing:
                self._work.clear()
                await self._work.wait()
        return not (self._is_finishing and self._is_all_final())

    def _is_all_final(self) -> bool:
        return self._replay_buffer.end <= self.clock.final + LOST_SECONDS

    def _fail(self, error: UpstreamError) -> None:
        self.error = error
        is_clients = error.failure in {Failure.BAD_MEDIA, Failure.BAD_OPTIONS}
        name = "upstream_rejected" if is_clients else "upstream_failed"
        self._listener.close(name, error_code=error.code, detail=error.message)

    # --- one call

    def _traced(self, call: LiveCall) -> AbstractContextManager[object]:
        return tracing.span(
            "upstream call",
            kind=tracing.SpanRole.CLIENT,
            transcription__region=self.calls.attempt.region_id,
            transcription__request_id=call.request_id,
            transcription__claim=self.calls.job.lease_token,
        )

    def _counted(self) -> AbstractContextManager[object]:
        region = self.calls.attempt.region_id
        return metrics.CONNECTIONS.labels(
            region, claims.PermitKind.STREAM
        ).track_inprogress()

    async def _run_call(self, call: LiveCall) -> None:
        """Return when all audio is processed; raises UpstreamError on a disconnect."""
        began = self._replay_buffer.rewind(self.clock.final)
        lost = began - self.clock.final
        if lost > LOST_SECONDS:
            self._report_lost(lost)
        self.clock.offset, self.sent_seconds = began, 0.0
        self._unanswered_at, self._opened_at = 0.0, time.monotonic()
        self._call = call
        self.request_id = call.request_id or self.request_id
        self._room.set()
        sending = asyncio.create_task(self._send_all(call))
        try:
            while (message := await call.receive()) is not None:
                self._unanswered_at = 0.0
                self._handle_message(message)
        finally:
            self._call = None
            self._configuration.mark_disconnected()
            self._room.set()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await call.close()

    async def _send_all(self, call: LiveCall) -> None:
        try:
            await call.send(self._chunker.header)
            while True:
                if change := self._configuration.take_message():
                    await call.configure(change)
                elif chunk := self._replay_buffer.next_chunk():
                    if chunk.data:
                        await call.send(chunk.data)
                        self.sent_seconds += chunk.seconds
                    else:
                        await call.finalize()
                    self._unanswered_at = self._unanswered_at or time.monotonic()
                    self._room.set()
                elif self._is_finishing:
                    await call.finish()
                    return
                elif not await self._wait_for_work():
                    await call.keep_alive()
        except UpstreamError:
            return  # the receiving side raises the same error

    async def _wait_for_work(self) -> bool:
        self._work.clear()
        try:
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                await self._work.wait()
        except TimeoutError:
            return False
        return True

    def _handle_message(self, message: dict[str, Any]) -> None:
        self.heard_at = time.monotonic()
        handle = self._handlers.get(str(message.get("type")))
        try:
            if handle is not None:
                handle(message)
        except (KeyError, TypeError, ValueError, AttributeError):
            logger.warning("invalid message from Deepgram")

    def _handle_error(self, _message: dict[str, Any]) -> None:
        # An older, self-hosted Deepgram does not know Configure.
        if self._configuration.is_sent:
            self._handle_configured(_UNSUPPORTED)

    def _handle_result(self, message: dict[str, Any]) -> None:
        self._report_recovery()
        aligned = self.clock.align(message)
        if message.get("is_final"):
            self._interims.pop(read_channel(message)[0], None)
            self._mark_healthy()
            self._replay_buffer.discard_before(self.clock.final)
        if aligned is None:
            return
        channel, _ = read_channel(message)
        fields = build_transcript(aligned, channel=channel)
        is_mark = fields["speech_final"] or fields["from_finalize"]
        if not fields["text"] and not is_mark:
            return
        server_message = ServerMessage(MessageKind.TRANSCRIPT, fields, aligned)
        if not fields["is_final"]:
            self._interims[channel] = server_message
            self._listener.send_message(server_message)
            return
        (alternative, *_) = aligned["channel"]["alternatives"]
        if fields["text"] or fields["speech_final"]:
            self._listener.send_final(server_message, alternative=alternative)
        else:
            self._listener.send_message(server_message)

    def _handle_turn(self, message: dict[str, Any]) -> None:
        self._report_recovery()
        turn = self._turns.read(message)
        self._interims.clear()
        if turn.fields["is_final"]:
            self._mark_healthy()
            self._listener.send_final(turn, alternative=turns.build_alternative(turn))
        else:
            self._interims[0] = turn
            self._listener.send_message(turn)
        self._replay_buffer.discard_before(self.clock.final)

    def _handle_utterance_end(self, message: dict[str, Any]) -> None:
        self._handle_moment(message, MessageKind.UTTERANCE_END, "last_word_end")

    def _handle_speech_started(self, message: dict[str, Any]) -> None:
        self._handle_moment(message, MessageKind.SPEECH_STARTED, "timestamp")

    def _handle_moment(
        self, message: dict[str, Any], kind: MessageKind, name: str
    ) -> None:
        moment = self.clock.move(message[name])
        channel, _ = read_channel(message)
        field = "at" if kind == MessageKind.SPEECH_STARTED else name
        fields = {"channel": channel, field: moment}
        self._listener.send_message(
            ServerMessage(kind, fields, {**message, name: moment})
        )

    def _handle_metadata(self, message: dict[str, Any]) -> None:
        self.request_id = str(message.get("request_id") or self.request_id)
        found = message.get("model_info")
        self.model_info = found if isinstance(found, dict) else self.model_info
        self.sent_seconds = max(
            self.sent_seconds, read_seconds(message.get("duration") or 0.0)
        )

    def _handle_configured(self, message: dict[str, Any]) -> None:
        is_success = message["type"] == "ConfigureSuccess"
        if self._configuration.resolve(is_success=is_success):
            self._listener.send_message(
                ServerMessage(MessageKind.CONFIGURED, {}, upstream=message)
            )

    # --- reconnect

    async def _reconnect(self, error: UpstreamError) -> LiveCall | None:
        """Return the next call; None after LIVE_RECONNECT_SECONDS or a final error.

        A call that fails before it is healthy counts as a retry of the same outage.
        Raises StaleJobState.
        """
        outage = self._outage
        if error.code != IDLE and not outage.is_reported:  # an idle close is normal
            outage.is_reported = True
            detail = "The connection to Deepgram was lost. Audio is buffered."
            self._warn(code="upstream_reconnecting", detail=detail)
        give_up = outage.mark_start(time.monotonic()) + settings.LIVE_RECONNECT_SECONDS
        call = None
        while call is None:
            if error.failure not in RETRYABLE or time.monotonic() > give_up:
                self._fail(error)
                return None
            pause = choose_pause(outage.tries, error, uniform=random.uniform)
            await asyncio.sleep(pause)
            call, error = await self._open_next(error, elsewhere=outage.tries > 0)
            outage.tries += 1
        return call

    def _mark_healthy(self) -> None:
        """End the outage: the call lasts or returned a final result.

        An interim result is no proof: audio that crashes the call is replayed and would
        crash it again at once.
        """
        self._report_recovery()
        if self._outage.tries:
            COUNTERS.reconnects += 1
        self._outage = UpstreamOutage()

    def _report_recovery(self) -> None:
        if self._outage.is_reported:
            self._outage.is_reported = False
            detail = "The connection to Deepgram is restored."
            self._warn(code="upstream_reconnected", detail=detail)

    async def _open_next(
        self, error: UpstreamError, *, elsewhere: bool
    ) -> tuple[LiveCall | None, UpstreamError]:
        """Return the next call, or None with the error."""
        failure = CallFailure(
            error=error,
            seconds=self.sent_seconds,
            channels=self.clock.channels,
            elsewhere=elsewhere,
        )
        previous = self.calls.attempt
        try:
            return await self.calls.open_next(failure), error
        except UpstreamError as next_error:
            return None, next_error
        finally:
            if self.calls.attempt is not previous:
                self.sent_seconds = 0.0

    def _warn(self, *, code: str, detail: str, **more: Any) -> None:
        self._listener.send_message(build_warning(code=code, detail=detail, **more))

    def _report_lost(self, seconds: float) -> None:
        self.lost_seconds += seconds
        COUNTERS.lost_audio_seconds += seconds
        detail = (
            "Audio was lost: Deepgram was unavailable longer than the buffer lasts."
        )
        lost = round(seconds, 3)
        self._warn(code="audio_dropped", detail=detail, lost_seconds=lost)
