"""The words of Deepgram's document, each with a time and a voice, as they can be shown.

Pure and tolerant: odd times are mended, so that within a channel none goes back, none
ends before it starts and none lies past the audio; no word is ever left out.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from transcripts.documents import MAX_SECONDS, best_alternative

# Written without spaces between words: Thai, Lao, Myanmar, Khmer, Chinese, Japanese,
# and the full-width punctuation of the last two. Korean has spaces.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
_JOINS_LEFT = re.compile(f"[{_SPACELESS}]\\Z")
_JOINS_RIGHT = re.compile(f"[{_SPACELESS}]")
_NEVER = MAX_SECONDS * 1000
_MANY = 1000  # no recording has so many speakers
# Controls that are no white space; str.split takes care of those that are.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f]")


class Voice(NamedTuple):
    """Who speaks: None where the document does not tell one from others."""

    channel: int | None
    speaker: int | None

    def __str__(self) -> str:
        """Name it as people read it."""
        parts = (("Channel", self.channel), ("Speaker", self.speaker))
        return " ".join(f"{name} {it}" for name, it in parts if it is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """Something to be shown that has no space in it, in milliseconds."""

    text: str
    start: int
    end: int
    voice: Voice
    # Whether it follows the word before it without a space.
    is_glued: bool = False
    opens_paragraph: bool = False


def read_channels(document: dict[str, Any]) -> list[list[Word]]:
    """Return the words of each channel that has any, in the document's order."""
    results = document.get("results")
    channels = results.get("channels") if isinstance(results, dict) else None
    found = channels if isinstance(channels, list) else []
    latest = _find_end(document)
    read = [
        list(
            _read_channel(
                best_alternative(channel),
                channel=number if len(found) > 1 else None,
                latest=latest,
            )
        )
        for number, channel in enumerate(found)
    ]
    return [words for words in read if words]


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
        for part, begin, finish in _share(text.split(), start, end):
            yield Word(
                text=part,
                start=begin,
                end=finish,
                voice=Voice(channel, _find_speaker(entry)),
                is_glued=_is_glued(before, part),
                opens_paragraph=opens,
            )
            at, before, opens = begin, part, False


def _find_entries(best: dict[str, Any], latest: int) -> list[dict[str, Any]]:
    """Return the word objects; text that has none is one word as long as the audio."""
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
    return speaker if 0 <= speaker < _MANY else None


def _find_openings(best: dict[str, Any]) -> frozenset[int]:
    """Return when the channel's paragraphs begin."""
    whole = best.get("paragraphs")
    entries = whole.get("paragraphs") if isinstance(whole, dict) else None
    found = [it for it in entries if isinstance(it, dict)] if _is_list(entries) else []
    return frozenset(_to_ms(each.get("start"), -1) for each in found)


def _find_end(document: dict[str, Any]) -> int:
    metadata = document.get("metadata")
    told = metadata.get("duration") if isinstance(metadata, dict) else None
    return _to_ms(told, 0) or _NEVER


def _share(parts: list[str], start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Share a word's time out among what it is cut into, by their lengths."""
    total, done = sum(map(len, parts)), 0
    for part in parts:
        begin = start + (end - start) * done // total
        done += len(part)
        yield part, begin, start + (end - start) * done // total


def _is_glued(before: str, text: str) -> bool:
    return bool(_JOINS_LEFT.search(before) and _JOINS_RIGHT.match(text))


def _to_ms(seconds: object, otherwise: int) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return otherwise
    is_time = math.isfinite(seconds) and 0 <= seconds <= _NEVER / 1000
    return round(seconds * 1000) if is_time else otherwise


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
