"""Lay words out in the lines of a caption. Pure."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace

from transcripts.formats.words import Word, join

# Netflix, Timed Text Style Guide, "Character Limitation" and "Line Treatment": one line
# where all fits, else two, broken after punctuation where that can be.
MAX_COLUMNS = 42
MAX_LINES = 2
_WIDE = frozenset("WF")
CLAUSE_ENDS = (",", ";", ":", ".", "?", "!", "\u3001", "\u3002", "\uff0c")
_BEFORE_A_CLAUSE = 10  # columns that two lines may differ by more, to break there


def count_columns(text: str) -> int:
    """Return how wide the text is; what East Asia writes full-width takes two.

    By Unicode's annex 11. Never less than its number of characters.
    """
    if text.isascii():
        return len(text)
    return len(text) + sum(unicodedata.east_asian_width(each) in _WIDE for each in text)


def cut(word: Word, columns: int) -> Iterator[Word]:
    """Yield the word in pieces that fit a line, its time shared out among them."""
    if count_columns(word.text) <= columns:
        yield word
        return
    pieces = _cut_text(word.text, columns)
    seconds, total, done = word.end - word.start, len(word.text), 0
    for number, piece in enumerate(pieces):
        start = word.start + seconds * done // total
        done += len(piece)
        yield replace(
            word,
            text=piece,
            start=start,
            end=word.start + seconds * done // total,
            is_glued=word.is_glued or number > 0,
            opens_paragraph=word.opens_paragraph and number == 0,
        )


def _cut_text(text: str, columns: int) -> list[str]:
    pieces, piece, width = [], "", 0
    for letter in text:
        wide = count_columns(letter)
        # What belongs to the letter before it stays there while it fits at all.
        room = columns if unicodedata.combining(letter) else columns - 2
        if width + wide > room and piece:
            pieces.append(piece)
            piece, width = "", 0
        piece += letter
        width += wide
    return [*pieces, piece]


def fit(words: Sequence[Word], label: str = "") -> bool:
    """Tell whether the words fit a caption, one line filled after another."""
    line, column, is_first = 1, count_columns(label) + 1 if label else 0, True
    for word in words:
        width = count_columns(word.text)
        space = 0 if word.is_glued or is_first else 1
        is_first = False
        if column + space + width <= MAX_COLUMNS:
            column += space + width
        else:
            line, column = line + 1, width
    return line <= MAX_LINES


def break_lines(words: Sequence[Word], label: str = "") -> list[str]:
    """Return one line where all fits, else two of about the same length.

    The words fit: some place to break is always found.
    """
    whole = _labelled(label, words)
    if count_columns(whole) <= MAX_COLUMNS:
        return [whole]
    ways = [
        (_labelled(label, words[:place]), join(words[place:]))
        for place in range(0 if label else 1, len(words))
    ]
    best = min((way for way in ways if _fit(way)), key=_badness)
    return list(best)


def _labelled(label: str, words: Sequence[Word]) -> str:
    text = join(words)
    return f"{label} {text}".strip() if label else text


def _fit(lines: tuple[str, str]) -> bool:
    return all(count_columns(line) <= MAX_COLUMNS for line in lines)


def _badness(lines: tuple[str, str]) -> int:
    upper, lower = map(count_columns, lines)
    bonus = _BEFORE_A_CLAUSE if lines[0].endswith(CLAUSE_ENDS) else 0
    return abs(upper - lower) - bonus
