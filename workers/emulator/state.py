"""The components of a running emulator."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from workers.emulator import config, engines, faults, journal, keys, limits
from workers.emulator.audio import bodies
from workers.emulator.engines.live import base
from workers.emulator.protocol import options
from workers.emulator.results import callbacks, transcription


class Stream(Protocol):
    """An open live stream."""

    entry: journal.Entry
    seconds: float

    def cut(self, *, is_reset: bool) -> None:
        """Close the stream with a RST, or with 1011 NET-0000."""


@dataclass(slots=True, kw_only=True)
class Emulator:
    """All components. Only `tuning` is replaced at runtime."""

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
    recognizer_pool: base.RecognizerPool
    streams: set[Stream] = field(default_factory=set)
    started_at: float = field(default_factory=time.time)

    async def start(self) -> None:
        """Start the components; returns when the first call can be served."""
        await self.fetcher.start()
        await self.callbacks.start()
        await self.transcriber.engine.start()
        await self.recognizer_pool.start()

    async def close(self) -> None:
        """Close all connections and child processes."""
        await self.callbacks.close()
        await self.fetcher.close()
        await self.recognizer_pool.close()
        await self.transcriber.engine.close()

    def reset(self) -> None:
        """Delete the faults and restore the initial limits and latency."""
        self.faults.clear()
        self.limiter.clear_windows()
        self.stream_limiter.clear_windows()
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
    """Return an emulator that is not started."""
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
        recognizer_pool=base.build_pool(settings.engine),
    )
