"""From audio to document: measure, recognise, build, and remember the result."""

import asyncio
import dataclasses
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from workers.emulator import audio, engines, faults
from workers.emulator.protocol import options
from workers.emulator.results import documents

# A truncated call keeps this part of the audio, as in the upstream bug it imitates.
TRUNCATED_PART = 1 / 3

_MEASURES_KEPT = 20_000
_DOCUMENT_BYTES_KEPT = 64 * 1024 * 1024


class Transcriber:
    """Make documents. Equal audio with equal options is worked out once."""

    def __init__(self, engine: engines.Engine) -> None:
        self.engine = engine
        self._measures: OrderedDict[object, audio.Measure] = OrderedDict()
        self._documents: OrderedDict[object, documents.Document] = OrderedDict()
        self._bytes_kept = 0

    async def measure(self, sound: audio.Audio, shape: options.Shape) -> audio.Measure:
        """Return duration and channels, or raise Refused when it is no audio."""
        key = (sound.sha256, shape.raw)
        known = self._measures.get(key)
        if known is not None:
            return known
        if isinstance(sound.content, Path):
            found = await asyncio.to_thread(audio.measure, sound, shape.raw)
        else:
            found = audio.measure(sound, shape.raw)
        self._measures[key] = found
        if len(self._measures) > _MEASURES_KEPT:
            self._measures.popitem(last=False)
        return found

    async def transcribe(
        self,
        sound: audio.Audio,
        shape: options.Shape,
        *,
        words: int | None,
        spoiled: Collection[faults.Kind] = (),
    ) -> documents.Document:
        """Return the document, or raise Refused; `spoiled` shortens or empties it."""
        key = (sound.sha256, shape, words, frozenset(spoiled))
        known = self._documents.get(key)
        if known is not None:
            self._documents.move_to_end(key)
            return known
        measure = await self.measure(sound, shape)
        spoken = await self.engine.recognise(
            engines.Assignment(sound=sound, measure=measure, shape=shape, words=words)
        )
        if faults.Kind.TRUNCATE in spoiled:
            measure, spoken = _truncate(measure, spoken)
        if faults.Kind.EMPTY in spoiled:
            spoken = tuple(() for _ in spoken)
        document = documents.build_document(sound, measure, shape, spoken, self.engine)
        self._keep(key, document)
        return document

    def _keep(self, key: object, document: documents.Document) -> None:
        replaced = self._documents.pop(key, None)
        if replaced is not None:  # two equal calls were worked out side by side
            self._bytes_kept -= len(replaced.results)
        self._documents[key] = document
        self._bytes_kept += len(document.results)
        while self._bytes_kept > _DOCUMENT_BYTES_KEPT:
            _, oldest = self._documents.popitem(last=False)
            self._bytes_kept -= len(oldest.results)


def _truncate(
    measure: audio.Measure, spoken: engines.Channels
) -> tuple[audio.Measure, engines.Channels]:
    end = measure.duration * TRUNCATED_PART
    heard = tuple(tuple(word for word in words if word.end <= end) for words in spoken)
    return dataclasses.replace(measure, duration=end), heard
