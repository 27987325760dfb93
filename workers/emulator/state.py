"""The parts of one running emulator, and how they are put together."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from workers.emulator import config, engines, faults, journal, keys, limits
from workers.emulator.audio import bodies
from workers.emulator.engines.live import base as live_engines_base
from workers.emulator.protocol import options
from workers.emulator.results import callbacks, transcription


class Stream(Protocol):
    """A live stream that is open."""

    entry: journal.Entry
    seconds: float

    def cut(self, *, is_reset: bool) -> None:
        """Break it off."""


@dataclass(slots=True, kw_only=True)
class Emulator:
    """Hold every part; `tuning` is the only one that is replaced while it runs."""

    settings: config.Config
    tuning: config.Tuning
    keyring: keys.KeyRing
    limiter: limits.Limiter
    stream_limiter: limits.Limiter
    faults: faults.FaultPlan
    journal: journal.Journal
    transcriber: transcription.Transcriber
    fetcher: bodies.Fetcher
    callbacks: callbacks.CallbackSender
    audience: live_engines_base.Audience
    streams: set[Stream] = field(default_factory=set)
    started_at: float = field(default_factory=time.time)

    async def start(self) -> None:
        """Return once the first call can be served."""
        await self.fetcher.start()
        await self.callbacks.start()
        await self.transcriber.engine.start()
        await self.audience.start()

    async def close(self) -> None:
        """Let go of every connection and child process."""
        await self.callbacks.close()
        await self.fetcher.close()
        await self.audience.close()
        await self.transcriber.engine.close()

    def tune(self, changes: Mapping[str, Any]) -> None:
        """Change limits and latency from now on, or raise InvalidTuning."""
        self.tuning = self.tuning.changed(changes)

    def reset(self) -> None:
        """Go back to the faults, limits and latency of the start."""
        self.faults.clear()
        self.limiter.forget_window()
        self.stream_limiter.forget_window()
        self.tuning = self.settings.tuning


EMULATOR = web.AppKey("emulator", Emulator)


def open_entry(
    emulator: Emulator, request: web.Request, pairs: options.Pairs
) -> journal.Entry:
    """Add a request to the journal under a new request id."""
    entry = journal.Entry(
        request_id=str(uuid.uuid4()),
        started_at=time.time(),
        method=request.method,
        path=request.path,
        query=request.rel_url.raw_query_string,
        tags=tuple(value for name, value in pairs if name == "tag"),
        headers=journal.write_headers(request.headers),
    )
    emulator.journal.open(entry)
    return entry


def build_emulator(settings: config.Config) -> Emulator:
    """Return an emulator that is not started yet."""
    return Emulator(
        settings=settings,
        tuning=settings.tuning,
        keyring=keys.KeyRing(allowed=settings.keys, projects=settings.projects),
        limiter=limits.Limiter(),
        stream_limiter=limits.Limiter(),
        faults=faults.FaultPlan(seed=settings.seed),
        journal=journal.Journal(settings.log_size),
        transcriber=transcription.Transcriber(engines.build_engine(settings)),
        fetcher=bodies.Fetcher(settings),
        callbacks=callbacks.CallbackSender(settings),
        audience=live_engines_base.build_audience(settings.engine),
    )
