"""Generates words from the hash of the audio: equal bytes give equal words.

For tests and load. Only the duration is real. Speakers are generated from the hash if
`diarize` is set.
"""

import asyncio
import random
from pathlib import Path

from workers.emulator import config, engines

NAME = "canned"
WORDS_PER_SECOND = 2.5
# Longer audio has fewer words per second, which bounds the size of a document.
MAX_WORDS = 20_000
# Larger documents are built in a thread, so that they do not block the event loop.
_INLINE_WORDS = 3_000
_PAUSE = 1.6  # in words: the silence after a sentence
_LEAD = 0.1

VOCABULARY = Path(__file__).with_name("vocabulary.txt").read_text().split()


class CannedEngine:
    """Returns generated words immediately."""

    name = NAME
    is_inventive = True

    async def start(self) -> None:
        """Do nothing."""

    async def recognize(self, request: engines.RecognitionRequest) -> engines.Channels:
        """Return words that fill the measured duration."""
        if count_words(request) * request.channels > _INLINE_WORDS:
            return await asyncio.to_thread(generate, request)
        return generate(request)

    async def close(self) -> None:
        """Do nothing."""


def build(_settings: config.Config) -> CannedEngine:
    """Return the engine; it has no settings."""
    return CannedEngine()


def count_words(request: engines.RecognitionRequest) -> int:
    """Return the number of words per channel."""
    if request.words is not None:
        return min(request.words, MAX_WORDS)
    return min(int(request.measure.duration * WORDS_PER_SECOND), MAX_WORDS)


def generate(request: engines.RecognitionRequest) -> engines.Channels:
    """Return the words of every channel."""
    seed = int(request.media.sha256[:16], 16)
    return tuple(
        _generate_channel(
            random.Random(seed + channel),  # noqa: S311 - repeatable, not secret
            count=count_words(request),
            duration=request.measure.duration,
            has_speakers="diarize" in request.shape.flags,
        )
        for channel in range(request.channels)
    )


def _generate_channel(
    rng: random.Random, *, count: int, duration: float, has_speakers: bool
) -> tuple[engines.Word, ...]:
    texts = rng.choices(VOCABULARY, k=count)
    sentences = _split_sentences(rng, count)
    units = count + _PAUSE * len(sentences)
    step = max(duration - 2 * _LEAD, 0.0) / units if units else 0.0
    words: list[engines.Word] = []
    at = min(_LEAD, duration)
    speaker = 0
    for length in sentences:
        question = rng.random() < 0.2  # noqa: PLR2004 - one sentence in five
        for place in range(length):
            text = texts[len(words)]
            words.append(
                engines.Word(
                    text=text,
                    written=_write(text, place, length, is_question=question),
                    start=round(at, 3),
                    end=round(at + step * 0.9, 3),
                    confidence=round(0.85 + 0.149 * rng.random(), 4),
                    speaker=speaker if has_speakers else None,
                )
            )
            at += step
        at += step * _PAUSE
        speaker = (speaker + 1) % 2 if rng.random() < 0.4 else speaker  # noqa: PLR2004
    return tuple(words)


def _split_sentences(rng: random.Random, count: int) -> list[int]:
    """Return sentence lengths that add up to the count."""
    lengths = []
    remaining = count
    while remaining:
        length = min(remaining, rng.randint(5, 12))
        lengths.append(length)
        remaining -= length
    return lengths


def _write(text: str, place: int, length: int, *, is_question: bool) -> str:
    written = text.capitalize() if place == 0 else text
    if place == length - 1:
        return written + ("?" if is_question else ".")
    return written
