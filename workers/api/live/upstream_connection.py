"""The upstream's side of a session: it breaks, it comes back, and nobody notices much.

A call that breaks is closed in the ledger and another begins, in the same region or in
another that the job may use; what was not final is sent again. Nothing is tried again
that the upstream refused for good.
"""

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
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
from workers.api.live import close_reasons
from workers.api.live.alignment import SessionClock, read_channel, read_seconds
from workers.api.live.calls import AGAIN, UpstreamCalls, choose_pause
from workers.api.live.chunks import Chunker
from workers.api.live.counters import COUNTERS
from workers.api.live.replay_buffer import ReplayBuffer
from workers.api.live.wire_format import (
    CloseReason,
    MessageKind,
    ServerMessage,
    build_transcript,
)
from workers.deepgram.live import IDLE, LiveCall

logger = logging.getLogger(__name__)

KEEPALIVE_SECONDS = 4.0
# A call that brought nothing by then, and still stands, is as good as any.
PROVEN_SECONDS = 2.0
# Shorter gaps are the rounding of whoever counts.
LOST_SECONDS = 0.1


class UpstreamListener(Protocol):
    """Whoever is told what the upstream says."""

    def tell(self, told: ServerMessage) -> None:
        """Tell it to the client."""

    def tell_final(self, told: ServerMessage, *, alternative: dict[str, Any]) -> None:
        """Store it, then tell it."""

    def end(self, end: CloseReason) -> None:
        """End the session."""


@dataclass(slots=True)
class UpstreamOutage:
    """How it is going with an upstream that is away, over as many calls as it takes."""

    tries: int = 0
    is_told: bool = False
    began_at: float = 0.0

    def begin(self, now: float) -> float:
        """Return since when it lasts."""
        self.began_at = self.began_at or now
        return self.began_at


class UpstreamConnection:
    """The calls of one session, one after another."""

    def __init__(
        self,
        *,
        calls: UpstreamCalls,
        backlog: ReplayBuffer,
        cutter: Chunker,
        listener: UpstreamListener,
    ) -> None:
        self.calls = calls
        self.clock = SessionClock()
        self.request_id = ""
        self.model_info: dict[str, Any] = {}
        self.error: UpstreamError | None = None
        self.lost_seconds = self.seconds_heard = 0.0
        self._backlog, self._cutter, self._listener = backlog, cutter, listener
        self._call: LiveCall | None = None
        self._work, self._room = asyncio.Event(), asyncio.Event()
        self._is_finishing = False
        # Since when the upstream owes us an answer; 0: it does not.
        self._unanswered_at = self._opened_at = 0.0
        self._outage = UpstreamOutage()

    @property
    def is_connected(self) -> bool:
        """Whether a call is open."""
        return self._call is not None

    def wake(self) -> None:
        """Say that there is something to send."""
        self._work.set()

    def finish(self) -> None:
        """Say that nothing more will come."""
        self._is_finishing = True
        self._work.set()

    def abandon(self) -> None:
        """Break off the call that is open, without the exchange of a close."""
        if self._call:
            self._call.abort()

    async def wait_for_room(self) -> None:
        """Return when something has changed for a client that waits."""
        self._room.clear()
        await self._room.wait()

    def check_call(self, now: float) -> None:
        """Break off a call that hears and says nothing; trust one that lasts."""
        if self._call and now - self._opened_at > PROVEN_SECONDS:
            self._trust()
        waited = now - self._unanswered_at if self._unanswered_at else 0.0
        if self._call and waited > settings.LIVE_STALL_SECONDS:
            self._unanswered_at = 0.0
            self._call.abort()

    async def run(self) -> None:
        """Keep a call open until all was heard, or none can be had any more."""
        connecting: Coroutine[Any, Any, LiveCall | None] = self.calls.open()
        while True:
            try:
                if call := await connecting:
                    with self._traced(call), self._counted():
                        await self._converse(call)
            except UpstreamError as error:
                if not await self._may_go_on(error):
                    return
                connecting = self._reconnect(error)
            except StaleJobState:
                self._listener.end(close_reasons.CANCELED)
                return
            else:
                return

    async def _may_go_on(self, error: UpstreamError) -> bool:
        """Return whether another call is wanted; wait until it is."""
        if error.failure not in AGAIN:
            self._fail(error)
            return False
        if error.code == IDLE:
            while self._backlog.is_spent and not self._is_finishing:
                self._work.clear()
                await self._work.wait()
        return not (self._is_finishing and self._is_all_final())

    def _is_all_final(self) -> bool:
        return self._backlog.end <= self.clock.final + LOST_SECONDS

    def _fail(self, error: UpstreamError) -> None:
        self.error = error
        is_clients = error.failure in {Failure.BAD_MEDIA, Failure.BAD_OPTIONS}
        end = close_reasons.upstream_failed(
            error.code, error.message, is_clients=is_clients
        )
        self._listener.end(end)

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

    async def _converse(self, call: LiveCall) -> None:
        """Return when all was heard; raises UpstreamError when the call breaks."""
        began = self._backlog.rewind(self.clock.final)
        lost = began - self.clock.final
        if lost > LOST_SECONDS:
            self._note_lost(lost)
        self.clock.offset, self.seconds_heard = began, 0.0
        self._unanswered_at, self._opened_at = 0.0, time.monotonic()
        self._call = call
        self.request_id = call.request_id or self.request_id
        self._room.set()
        sending = asyncio.create_task(self._send_all(call))
        try:
            while (message := await call.receive()) is not None:
                self._unanswered_at = 0.0
                self._hear(message)
        finally:
            self._call = None
            self._room.set()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await call.close()

    async def _send_all(self, call: LiveCall) -> None:
        try:
            await call.send(self._cutter.header)
            while True:
                if piece := self._backlog.take():
                    if piece.data:
                        await call.send(piece.data)
                        self.seconds_heard += piece.seconds
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
            return  # whoever receives is told, too

    async def _wait_for_work(self) -> bool:
        self._work.clear()
        try:
            async with asyncio.timeout(KEEPALIVE_SECONDS):
                await self._work.wait()
        except TimeoutError:
            return False
        return True

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        try:
            if kind == "Results":
                self._tell_of_return()
                self._hear_result(message)
            elif kind == "UtteranceEnd":
                self._hear_moment(message, MessageKind.UTTERANCE_END, "last_word_end")
            elif kind == "SpeechStarted":
                self._hear_moment(message, MessageKind.SPEECH_STARTED, "timestamp")
            elif kind == "Metadata":
                self._hear_metadata(message)
        except (KeyError, TypeError, ValueError, AttributeError):
            logger.warning("unintelligible message of the upstream")

    def _hear_result(self, message: dict[str, Any]) -> None:
        aligned = self.clock.align(message)
        if message.get("is_final"):
            self._trust()
            self._backlog.forget(self.clock.final)
        if aligned is None:
            return
        channel, _ = read_channel(message)
        fields = build_transcript(aligned, channel=channel)
        marks = fields["speech_final"] or fields["from_finalize"]
        if not fields["text"] and not marks:
            return
        told = ServerMessage(
            kind=MessageKind.TRANSCRIPT, fields=fields, upstream=aligned
        )
        if not fields["is_final"]:
            self._listener.tell(told)
            return
        (alternative, *_) = aligned["channel"]["alternatives"]
        if fields["text"] or fields["speech_final"]:
            self._listener.tell_final(told, alternative=alternative)
        else:
            self._listener.tell(told)

    def _hear_moment(
        self, message: dict[str, Any], kind: MessageKind, name: str
    ) -> None:
        moment = self.clock.move(message[name])
        channel, _ = read_channel(message)
        ours = "at" if kind == MessageKind.SPEECH_STARTED else name
        self._listener.tell(
            ServerMessage(
                kind=kind,
                fields={"channel": channel, ours: moment},
                upstream={**message, name: moment},
            )
        )

    def _hear_metadata(self, message: dict[str, Any]) -> None:
        self.request_id = str(message.get("request_id") or self.request_id)
        found = message.get("model_info")
        self.model_info = found if isinstance(found, dict) else self.model_info
        self.seconds_heard = max(
            self.seconds_heard, read_seconds(message.get("duration") or 0.0)
        )

    # --- another one

    async def _reconnect(self, error: UpstreamError) -> LiveCall | None:
        """Return another call, as long as it is worth trying; None: no more.

        A call that breaks before it was of any use is one more try of the same outage.
        Raises StaleJobState.
        """
        outage = self._outage
        if error.code != IDLE and not outage.is_told:  # else nothing is wrong
            outage.is_told = True
            detail = "The upstream broke off; audio is kept."
            self._warn(code="upstream_reconnecting", detail=detail)
        give_up = outage.begin(time.monotonic()) + settings.LIVE_RECONNECT_SECONDS
        call = None
        while call is None:
            if error.failure not in AGAIN or time.monotonic() > give_up:
                self._fail(error)
                return None
            pause = choose_pause(outage.tries, error, uniform=random.uniform)
            await asyncio.sleep(pause)
            call, error = await self._try_again(error, elsewhere=outage.tries > 0)
            outage.tries += 1
        return call

    def _trust(self) -> None:
        """Take the upstream for whole again: it lasts, or brought us further.

        What it says that is not final proves nothing: audio that it breaks on is sent
        again, and it would break again, at once.
        """
        self._tell_of_return()
        if self._outage.tries:
            COUNTERS.reconnects += 1
        self._outage = UpstreamOutage()

    def _tell_of_return(self) -> None:
        if self._outage.is_told:
            self._outage.is_told = False
            detail = "The upstream is there again."
            self._warn(code="upstream_reconnected", detail=detail)

    async def _try_again(
        self, error: UpstreamError, *, elsewhere: bool
    ) -> tuple[LiveCall | None, UpstreamError]:
        """Return the next call, or why there is none."""
        broken = CallFailure(
            error=error,
            seconds=self.seconds_heard,
            channels=self.clock.channels,
            elsewhere=elsewhere,
        )
        before = self.calls.attempt
        try:
            return await self.calls.open_next(broken), error
        except UpstreamError as refused:
            return None, refused
        finally:
            if self.calls.attempt is not before:
                self.seconds_heard = 0.0

    def _warn(self, *, code: str, detail: str, **more: Any) -> None:
        fields = {"code": code, "detail": detail, **more}
        self._listener.tell(ServerMessage(kind=MessageKind.WARNING, fields=fields))

    def _note_lost(self, seconds: float) -> None:
        self.lost_seconds += seconds
        COUNTERS.lost_audio_seconds += seconds
        detail = "More audio came than is kept while the upstream is away."
        lost = round(seconds, 3)
        self._warn(code="audio_dropped", detail=detail, lost_seconds=lost)
