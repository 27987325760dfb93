"""Offline recognition with pocketsphinx, in a pool of processes.

Recognizes clear English speech. Provides no speakers, topics or sentiment. A pause ends
a sentence.
"""

import asyncio
import concurrent.futures
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import process

from workers.emulator import config, engines
from workers.emulator.engines import recognizer

NAME = "pocketsphinx"
# The processes of live streams, which `engines.live.sphinx` starts.
LIVE_NAME = "live recognizer"
# A pause of this many seconds ends a sentence.
SENTENCE_PAUSE = 0.6
_START_TIMEOUT = 60.0


class SphinxEngine:
    """Recognizes in child processes, which do not block the event loop."""

    name = NAME
    is_inventive = False

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._replacing = asyncio.Lock()

    async def start(self) -> None:
        """Start the processes and wait until each has loaded its model."""
        spawn = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(
            self._processes,
            mp_context=spawn,
            initializer=recognizer.prepare,
            initargs=(os.getpid(), spawn.Barrier(self._processes)),
        )
        self._pool = pool
        futures = [
            asyncio.wrap_future(pool.submit(recognizer.report_ready))
            for _ in range(self._processes)
        ]
        async with asyncio.timeout(_START_TIMEOUT):
            await asyncio.gather(*futures)

    async def recognize(self, request: engines.RecognitionRequest) -> engines.Channels:
        """Return the words of each channel, or of the mix of all."""
        is_split = "multichannel" in request.shape.flags
        channels = await asyncio.gather(
            *(
                self._run(
                    recognizer.Excerpt(
                        content=request.media.content,
                        channel=channel if is_split else None,
                        raw=request.shape.raw,
                    )
                )
                for channel in range(request.channels)
            )
        )
        return tuple(punctuate(words) for words in channels)

    async def close(self) -> None:
        """Kill the processes; recognitions in progress are lost."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        # A survivor would wait forever for a lock that a killed process held.
        for child in multiprocessing.active_children():
            if child.name != LIVE_NAME:
                child.kill()

    async def _run(
        self, excerpt: recognizer.Excerpt
    ) -> list[recognizer.RecognizedWord]:
        pool = self._pool
        if pool is None:
            raise RuntimeError("The engine is not started.")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(pool, recognizer.recognize, excerpt)
        except process.BrokenProcessPool:
            await self._replace_pool(pool)
            return await loop.run_in_executor(self._pool, recognizer.recognize, excerpt)

    async def _replace_pool(
        self, broken: concurrent.futures.ProcessPoolExecutor
    ) -> None:
        """Replace a pool that lost a process; concurrent callers replace it once."""
        async with self._replacing:
            if self._pool is broken:
                await self.close()
                await self.start()


def build(settings: config.Config) -> SphinxEngine:
    """Return the engine, not started."""
    return SphinxEngine(settings.processes)


def punctuate(
    recognized: Iterable[recognizer.RecognizedWord],
) -> tuple[engines.Word, ...]:
    """Return the words with sentences that end at pauses."""
    words = list(recognized)
    written: list[engines.Word] = []
    is_first = True
    for place, word in enumerate(words):
        is_last = (
            place + 1 == len(words)
            or words[place + 1].start - word.end > SENTENCE_PAUSE
        )
        text = _capitalise(word.text, is_first=is_first)
        written.append(
            engines.Word(
                text=word.text,
                written=text + "." if is_last else text,
                start=word.start,
                end=word.end,
                confidence=word.confidence,
            )
        )
        is_first = is_last
    return tuple(written)


def _capitalise(text: str, *, is_first: bool) -> str:
    if is_first or text == "i" or text.startswith("i'"):
        return text[:1].upper() + text[1:]
    return text
