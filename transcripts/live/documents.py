"""Build a document in Deepgram's prerecorded shape from a live session's finals. Pure.

All code that reads transcripts can thus read those of live sessions.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One final result of one channel, with times from the start of the session."""

    channel: int
    start: float
    end: float
    speech_final: bool
    alternative: Mapping[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> list[dict[str, Any]]:
        """The words that have a start and an end."""
        words = self.alternative.get("words")
        return [
            word
            for word in (words if isinstance(words, list) else [])
            if isinstance(word, dict) and "start" in word and "end" in word
        ]

    @property
    def text(self) -> str:
        """The text, without characters that PostgreSQL cannot store."""
        text = str(self.alternative.get("transcript") or "").replace("\0", "")
        return text.encode("utf-8", "ignore").decode().strip()


def build_document(
    segments: Sequence[Segment],
    *,
    channels: int,
    seconds: float,
    request_id: str,
    model_info: Mapping[str, Any],
    created: datetime,
) -> dict[str, Any]:
    """Return the document; utterances end at pauses and speaker changes."""
    numbers = range(max([channels, 1, *(each.channel + 1 for each in segments)]))
    by_channel = [
        sorted((s for s in segments if s.channel == number), key=lambda s: s.start)
        for number in numbers
    ]
    utterances = [
        utterance
        for number, channel in enumerate(by_channel)
        for utterance in _build_utterances(number, channel)
    ]
    return {
        "metadata": {
            "transaction_key": "deprecated",
            "request_id": request_id,
            "sha256": "",
            "created": created.isoformat(),
            "duration": round(seconds, 3),
            "channels": len(by_channel),
            "models": list(model_info),
            "model_info": dict(model_info),
        },
        "results": {
            "channels": [{"alternatives": [_join(channel)]} for channel in by_channel],
            "utterances": sorted(utterances, key=lambda each: each["start"]),
        },
    }


def has_words(segments: Iterable[Segment]) -> bool:
    """Return whether any segment has text or words."""
    return any(segment.text or segment.words for segment in segments)


def _join(segments: Sequence[Segment]) -> dict[str, Any]:
    words = [word for segment in segments for word in segment.words]
    return {
        "transcript": " ".join(filter(None, (each.text for each in segments))),
        "confidence": _mean_confidence(words, segments),
        "words": words,
    }


def _build_utterances(channel: int, segments: Sequence[Segment]) -> Iterator[Any]:
    for stretch in _split_at_pauses(segments):
        words = [word for segment in stretch for word in segment.words]
        if not words:
            text = " ".join(filter(None, (each.text for each in stretch)))
            if text:
                yield _build_utterance(channel, [], stretch, text=text)
            continue
        for _, group in groupby(words, key=lambda word: word.get("speaker")):
            spoken = list(group)
            texts = (str(w.get("punctuated_word") or w.get("word", "")) for w in spoken)
            yield _build_utterance(channel, spoken, stretch, text=" ".join(texts))


def _split_at_pauses(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    stretch: list[Segment] = []
    for segment in segments:
        stretch.append(segment)
        if segment.speech_final:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _build_utterance(
    channel: int,
    words: list[dict[str, Any]],
    segments: Sequence[Segment],
    *,
    text: str,
) -> dict[str, Any]:
    speaker = words[0].get("speaker") if words else None
    return {
        "start": words[0]["start"] if words else segments[0].start,
        "end": words[-1]["end"] if words else segments[-1].end,
        "confidence": _mean_confidence(words, segments),
        "channel": channel,
        "transcript": text,
        "words": words,
        **({} if speaker is None else {"speaker": speaker}),
    }


def _mean_confidence(
    words: Sequence[Mapping[str, Any]], segments: Sequence[Segment]
) -> float:
    """Return the mean over words, or over segments without words."""
    found = [each.get("confidence") for each in words]
    if not found:
        found = [each.alternative.get("confidence") for each in segments if each.text]
    known = [value for value in found if isinstance(value, int | float)]
    return round(sum(known) / len(known), 6) if known else 0.0
