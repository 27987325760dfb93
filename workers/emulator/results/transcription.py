"""Transcribes audio: measures, recognizes, builds the document and caches it."""

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from workers.emulator import audio, engines, faults
from workers.emulator.protocol import options
from workers.emulator.results import documents

# Share of the audio in a truncated document, as in the Deepgram bug it imitates.
TRUNCATED_SHARE = 1 / 3

_MAX_CACHED_MEASURES = 20_000
_MAX_CACHED_BYTES = 64 * 1024 * 1024


class Transcriber:
    """Builds documents; caches them by audio and options."""

    def __init__(self, engine: engines.Engine) -> None:
        self.engine = engine
        self._measures: OrderedDict[object, audio.Measure] = OrderedDict()
        self._documents: OrderedDict[object, documents.Document] = OrderedDict()
        self._cached_bytes = 0

    async def measure(self, media: audio.Audio, shape: options.Shape) -> audio.Measure:
        """Return duration and channels, or raise Refused for anything but audio."""
        key = (media.sha256, shape.raw)
        known = self._measures.get(key)
        if known is not None:
            return known
        if isinstance(media.content, Path):
            found = await asyncio.to_thread(audio.measure, media, shape.raw)
        else:
            found = audio.measure(media, shape.raw)
        self._measures[key] = found
        if len(self._measures) > _MAX_CACHED_MEASURES:
            self._measures.popitem(last=False)
        return found

    async def transcribe(
        self,
        media: audio.Audio,
        shape: options.Shape,
        *,
        words: int | None,
        result_faults: Collection[faults.Kind] = (),
    ) -> documents.Document:
        """Return the document, shortened by `result_faults`, or raise Refused."""
        key = (media.sha256, shape, words, frozenset(result_faults))
        known = self._documents.get(key)
        if known is not None:
            self._documents.move_to_end(key)
            return known
        measure = await self.measure(media, shape)
        channels = await self.engine.recognize(
            engines.RecognitionRequest(
                media=media, measure=measure, shape=shape, words=words
            )
        )
        if faults.Kind.TRUNCATE in result_faults:
            measure, channels = _truncate(measure, channels)
        if faults.Kind.EMPTY in result_faults:
            channels = tuple(() for _ in channels)
        document = documents.build_document(
            media, measure, shape, channels, self.engine
        )
        self._cache_document(key, document)
        return document

    def _cache_document(self, key: object, document: documents.Document) -> None:
        replaced = self._documents.pop(key, None)
        if replaced is not None:  # an equal call ran concurrently
            self._cached_bytes -= len(replaced.results)
        self._documents[key] = document
        self._cached_bytes += len(document.results)
        while self._cached_bytes > _MAX_CACHED_BYTES:
            _, oldest = self._documents.popitem(last=False)
            self._cached_bytes -= len(oldest.results)


def _truncate(
    measure: audio.Measure, spoken: engines.Channels
) -> tuple[audio.Measure, engines.Channels]:
    end = measure.duration * TRUNCATED_SHARE
    channels = tuple(
        tuple(word for word in words if word.end <= end) for words in spoken
    )
    return dataclasses.replace(measure, duration=end), channels
