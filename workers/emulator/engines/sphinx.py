"""Real offline recognition: a pool of processes with the stock English model.

Knows clear English speech only, and says nothing it did not hear: no speakers, no
topics, no sentiment. Full stops stand where the speaker paused.
"""

import asyncio
import concurrent.futures
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import process

from workers.emulator import config, engines
from workers.emulator.engines import recogniser

NAME = "pocketsphinx"
# A silence this long, in seconds, ends a sentence.
SENTENCE_PAUSE = 0.6
_START_TIMEOUT = 60.0


class SphinxEngine:
    """Recognise in child processes, so that the server's loop never waits."""

    name = NAME
    is_inventive = False

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._mending = asyncio.Lock()

    async def start(self) -> None:
        """Start every child and wait until each has loaded its model."""
        spawn = multiprocessing.get_context("spawn")
        pool = concurrent.futures.ProcessPoolExecutor(
            self._processes,
            mp_context=spawn,
            initializer=recogniser.prepare,
            initargs=(os.getpid(), spawn.Barrier(self._processes)),
        )
        self._pool = pool
        waiting = [
            asyncio.wrap_future(pool.submit(recogniser.report_ready))
            for _ in range(self._processes)
        ]
        async with asyncio.timeout(_START_TIMEOUT):
            await asyncio.gather(*waiting)

    async def recognise(self, assignment: engines.Assignment) -> engines.Channels:
        """Return what was heard on each channel, or on all of them mixed."""
        is_split = "multichannel" in assignment.shape.flags
        heard = await asyncio.gather(
            *(
                self._run(
                    recogniser.Excerpt(
                        content=assignment.sound.content,
                        channel=channel if is_split else None,
                        raw=assignment.shape.raw,
                    )
                )
                for channel in range(assignment.channels)
            )
        )
        return tuple(punctuate(words) for words in heard)

    async def close(self) -> None:
        """End the children at once; a recognition under way is lost."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        # One left alive would wait for ever on a lock that a killed one held.
        for child in multiprocessing.active_children():
            child.kill()

    async def _run(self, excerpt: recogniser.Excerpt) -> list[recogniser.Heard]:
        pool = self._pool
        if pool is None:
            raise RuntimeError("the engine is not started")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(pool, recogniser.recognise, excerpt)
        except process.BrokenProcessPool:
            await self._mend(pool)
            return await loop.run_in_executor(self._pool, recogniser.recognise, excerpt)

    async def _mend(self, broken: concurrent.futures.ProcessPoolExecutor) -> None:
        """Replace a pool that lost a child; the first caller does it for all."""
        async with self._mending:
            if self._pool is broken:
                await self.close()
                await self.start()


def build(settings: config.Config) -> SphinxEngine:
    """Return the engine, its pool not started yet."""
    return SphinxEngine(settings.processes)


def punctuate(heard: Iterable[recogniser.Heard]) -> tuple[engines.Word, ...]:
    """Return the words with capitals and full stops where the speaker paused."""
    words = list(heard)
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
