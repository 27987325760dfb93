"""Pack the start time of each word of a transcript's text. Pure.

Three bytes per word in hundredths of a second, so that the time of a search hit is one
slice and no document is read.
"""

import re
from typing import Any

# Scripts without spaces between words: each character is a token.
UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAS_UNSPACED = re.compile(f"[{UNSPACED}]")
_UNSPACED_TOKEN = re.compile(rf"(?:[{UNSPACED}]|[^\s{UNSPACED}]+)\s*")
WIDTH = 3
_LATEST = (1 << 8 * WIDTH) - 1
_PER_SECOND = 100


def split_tokens(text: str) -> tuple[list[str], str]:
    """Return the tokens of the text, and the separator between them."""
    # isascii is O(1); the regular expression scans the text.
    if not text.isascii() and _HAS_UNSPACED.search(text):
        return _UNSPACED_TOKEN.findall(text), ""
    return text.split(), " "


def pack_starts(alternatives: list[dict[str, Any]]) -> bytes:
    """Return the packed starts of the tokens of all channels, in channel order.

    Tokens usually are the words; otherwise the text is aligned to the words in
    proportion to their lengths.
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
    """Return the start of a token in seconds, or None if unknown."""
    found = packed[index * WIDTH : (index + 1) * WIDTH]
    if len(found) < WIDTH:
        return None
    return int.from_bytes(found, "big") / _PER_SECOND


def _timed_words(alternative: dict[str, Any]) -> list[tuple[int, float]]:
    """Return length and start of each word; without one it has the previous start."""
    words, start = alternative.get("words"), 0.0
    timed = []
    for word in words if isinstance(words, list) else []:
        fields = word if isinstance(word, dict) else {}
        value = fields.get("start")
        # False for NaN.
        if isinstance(value, int | float) and 0 <= value <= _LATEST:
            start = float(value)
        text = fields.get("punctuated_word") or fields.get("word") or ""
        timed.append((max(1, len("".join(str(text).split()))), start))
    return timed


def _align(tokens: list[str], words: list[tuple[int, float]]) -> list[float]:
    if len(tokens) == len(words):
        return [start for _, start in words]
    if not words:
        return []
    words_length = sum(length for length, _ in words)
    text_length = sum(len(token.rstrip()) for token in tokens)
    starts, position, index, covered = [], 0, 0, words[0][0]
    for token in tokens:
        while (
            index < len(words) - 1 and position * words_length >= covered * text_length
        ):
            index += 1
            covered += words[index][0]
        starts.append(words[index][1])
        position += len(token.rstrip())
    return starts
