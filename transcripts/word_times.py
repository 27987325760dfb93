"""When each word of a transcript's text was said, packed: pure.

Three bytes a word, so that a hit's time is one slice and no document is read for it.
"""

import re
from typing import Any

# Written without spaces between words: each character stands for itself.
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAS_UNSPACED = re.compile(f"[{UNSPACED}]")
_UNSPACED_TOKEN = re.compile(rf"(?:[{UNSPACED}]|[^\s{UNSPACED}]+)\s*")
WIDTH = 3
_LATEST = (1 << 8 * WIDTH) - 1
_PER_SECOND = 100


def split_tokens(text: str) -> tuple[list[str], str]:
    """Return the text's tokens, and what stands between them."""
    # Whether all is ASCII a string knows; looking for a script reads through it.
    if not text.isascii() and _HAS_UNSPACED.search(text):
        return _UNSPACED_TOKEN.findall(text), ""
    return text.split(), " "


def pack_starts(alternatives: list[dict[str, Any]]) -> bytes:
    """Return the start of each token of the channels' texts, one channel after another.

    Tokens are mostly words; where they are not, the text is laid over the words by the
    length of both.
    """
    packed = bytearray()
    for alternative in alternatives:
        text = alternative.get("transcript")
        if not isinstance(text, str) or not text:
            continue
        tokens, _ = split_tokens(text)
        for start in _align(tokens, _timed_words(alternative)):
            hundredths = min(_LATEST, max(0, round(start * _PER_SECOND)))
            packed += hundredths.to_bytes(WIDTH, "big")
    return bytes(packed)


def start_of(packed: bytes, index: int) -> float | None:
    """Return when a token begins, in seconds, or None where it is not known."""
    found = packed[index * WIDTH : (index + 1) * WIDTH]
    if len(found) < WIDTH:
        return None
    return int.from_bytes(found, "big") / _PER_SECOND


def _timed_words(alternative: dict[str, Any]) -> list[tuple[int, float]]:
    """Return each word's length and start; what has no start takes the one before."""
    words, start = alternative.get("words"), 0.0
    timed = []
    for word in words if isinstance(words, list) else []:
        said = word if isinstance(word, dict) else {}
        given = said.get("start")
        # A number that is none (NaN) compares to nothing.
        if isinstance(given, int | float) and 0 <= given <= _LATEST:
            start = float(given)
        text = said.get("punctuated_word") or said.get("word") or ""
        timed.append((max(1, len("".join(str(text).split()))), start))
    return timed


def _align(tokens: list[str], words: list[tuple[int, float]]) -> list[float]:
    if len(tokens) == len(words):
        return [start for _, start in words]
    if not words:
        return []
    said = sum(length for length, _ in words)
    written = sum(len(token.rstrip()) for token in tokens)
    starts, place, number, covered = [], 0, 0, words[0][0]
    for token in tokens:
        while number < len(words) - 1 and place * said >= covered * written:
            number += 1
            covered += words[number][0]
        starts.append(words[number][1])
        place += len(token.rstrip())
    return starts
