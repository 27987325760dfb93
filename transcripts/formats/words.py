"""Read the words of a Deepgram document with their times and voices. Pure.

Invalid times are corrected: within a channel they never decrease, no word ends before
it starts, and none is past the end of the audio. No word is omitted.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from transcripts.documents import MAX_SECONDS, best_alternative

# Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, Chinese, Japanese,
# and the full-width punctuation of the last two. Korean has spaces.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
_JOINS_LEFT = re.compile(f"[{_SPACELESS}]\\Z")
_JOINS_RIGHT = re.compile(f"[{_SPACELESS}]")
_NEVER = MAX_SECONDS * 1000
_MAX_SPEAKERS = 1000  # sanity limit
# Control characters except white space, which str.split removes.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f]")


class Voice(NamedTuple):
    """Channel and speaker; None if the document does not distinguish several."""

    channel: int | None
    speaker: int | None

    def __str__(self) -> str:
        """Return a readable name such as "Speaker 0"."""
        parts = (("Channel", self.channel), ("Speaker", self.speaker))
        return " ".join(f"{name} {it}" for name, it in parts if it is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A piece of text without spaces; times in milliseconds."""

    text: str
    start: int
    end: int
    voice: Voice
    # Whether it follows the previous word without a space.
    is_glued: bool = False
    opens_paragraph: bool = False
    # From 0 to 1, if the document states it.
    confidence: float | None = None


def read_channels(document: dict[str, Any]) -> list[list[Word]]:
    """Return the words of each channel that has any, in document order."""
    results = document.get("results")
    channels = results.get("channels") if isinstance(results, dict) else None
    found = channels if isinstance(channels, list) else []
    latest = _find_end(document)
    by_channel = [
        list(
            _read_channel(
                best_alternative(channel),
                channel=number if len(found) > 1 else None,
                latest=latest,
            )
        )
        for number, channel in enumerate(found)
    ]
    return [words for words in by_channel if words]


def join(words: Iterable[Word]) -> str:
    """Return the words as one line of text."""
    parts = [("" if word.is_glued else " ") + word.text for word in words]
    return "".join(parts).removeprefix(" ")


def _read_channel(
    best: dict[str, Any], *, channel: int | None, latest: int
) -> Iterator[Word]:
    openings = _find_openings(best)
    at, before = 0, ""
    for entry in _find_entries(best, latest):
        text = _CONTROLS.sub("", _find_text(entry))
        start = min(max(_to_ms(entry.get("start"), at), at), latest)
        end = min(max(_to_ms(entry.get("end"), start), start), latest)
        opens = start in openings
        for part, begin, finish in _divide_time(text.split(), start, end):
            yield Word(
                text=part,
                start=begin,
                end=finish,
                voice=Voice(channel, _find_speaker(entry)),
                is_glued=_is_glued(before, part),
                opens_paragraph=opens,
                confidence=_find_confidence(entry),
            )
            at, before, opens = begin, part, False


def _find_entries(best: dict[str, Any], latest: int) -> list[dict[str, Any]]:
    """Return the word objects; text without any becomes one word of full length."""
    words = best.get("words")
    entries = [it for it in words if isinstance(it, dict)] if _is_list(words) else []
    text = best.get("transcript")
    if entries or not isinstance(text, str):
        return entries
    end = latest / 1000 if latest < _NEVER else 0
    return [{"word": text, "start": 0, "end": end}]


def _find_text(entry: dict[str, Any]) -> str:
    for name in ("punctuated_word", "word"):
        if isinstance(entry.get(name), str) and entry[name].strip():
            return str(entry[name])
    return ""


def _find_speaker(entry: dict[str, Any]) -> int | None:
    speaker = entry.get("speaker")
    if isinstance(speaker, bool) or not isinstance(speaker, int):
        return None
    return speaker if 0 <= speaker < _MAX_SPEAKERS else None


def _find_confidence(entry: dict[str, Any]) -> float | None:
    confidence = entry.get("confidence")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        return None
    return float(confidence) if 0 <= confidence <= 1 else None


def _find_openings(best: dict[str, Any]) -> frozenset[int]:
    """Return the start times of the channel's paragraphs."""
    whole = best.get("paragraphs")
    entries = whole.get("paragraphs") if isinstance(whole, dict) else None
    found = [it for it in entries if isinstance(it, dict)] if _is_list(entries) else []
    return frozenset(_to_ms(each.get("start"), -1) for each in found)


def _find_end(document: dict[str, Any]) -> int:
    metadata = document.get("metadata")
    duration = metadata.get("duration") if isinstance(metadata, dict) else None
    return _to_ms(duration, 0) or _NEVER


def _divide_time(
    parts: list[str], start: int, end: int
) -> Iterator[tuple[str, int, int]]:
    """Divide the time of a word among its parts in proportion to their lengths."""
    total, done = sum(map(len, parts)), 0
    for part in parts:
        begin = start + (end - start) * done // total
        done += len(part)
        yield part, begin, start + (end - start) * done // total


def _is_glued(before: str, text: str) -> bool:
    return bool(_JOINS_LEFT.search(before) and _JOINS_RIGHT.match(text))


def _to_ms(seconds: object, default: int) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return default
    is_time = math.isfinite(seconds) and 0 <= seconds <= _NEVER / 1000
    return round(seconds * 1000) if is_time else default


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
