"""Arrange words in the lines of a caption. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import regex
import wcwidth

from transcripts.formats.words import Word, join

# Netflix, Timed Text Style Guide, "Character Limitation" and "Line Treatment": one line
# if the text fits, else two, preferably broken after punctuation.
MAX_COLUMNS = 42
MAX_LINES = 2
# Commas, colons, semicolons and sentence ends of all scripts, with closing quotes.
# Unicode Standard Annex 29, table 4: SContinue, STerm, ATerm, Close.
_CLAUSE_END = regex.compile(
    r"(?V1)[[\p{SB=SC}\p{SB=ST}\p{SB=AT};\u061b\uff1b\u2026]--\p{Pd}]\p{SB=CL}*\Z"
)
# A break after a clause is preferred over one that balances the lines this much better.
_CLAUSE_BONUS_COLUMNS = 10


def count_columns(text: str) -> int:
    """Return the width of the text, as a terminal shows it.

    Full-width characters and emoji have two columns, combining characters none.
    """
    return wcwidth.width(text, control_codes="ignore")


def ends_clause(text: str) -> bool:
    """Return whether the text ends after a comma or a sentence, in any script."""
    return _CLAUSE_END.search(text) is not None


def cut(word: Word, columns: int) -> Iterator[Word]:
    """Split a word that is wider than a line, with its time in proportion."""
    if count_columns(word.text) <= columns:
        yield word
        return
    parts = _cut_text(word.text, columns)
    milliseconds, total, done = word.end - word.start, len(word.text), 0
    for number, part in enumerate(parts):
        start = word.start + milliseconds * done // total
        done += len(part)
        yield replace(
            word,
            text=part,
            start=start,
            end=word.start + milliseconds * done // total,
            is_glued=word.is_glued or number > 0,
            opens_paragraph=word.opens_paragraph and number == 0,
        )


def _cut_text(text: str, columns: int) -> list[str]:
    """Split between grapheme clusters: letters with marks, and emoji, stay whole."""
    parts, part, width = [], "", 0
    for cluster in wcwidth.iter_graphemes(text):
        cluster_width = count_columns(cluster)
        if part and width + cluster_width > columns:
            parts.append(part)
            part, width = "", 0
        part += cluster
        width += cluster_width
    return [*parts, part]


def fit(words: Sequence[Word], label: str = "") -> bool:
    """Return whether the words fit in one caption."""
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
    """Return one line if the words fit, else two of about the same length.

    The words must fit in a caption, so that a break always exists.
    """
    whole = _labelled(label, words)
    if count_columns(whole) <= MAX_COLUMNS:
        return [whole]
    breaks = [
        (_labelled(label, words[:index]), join(words[index:]))
        for index in range(0 if label else 1, len(words))
    ]
    best = min((lines for lines in breaks if _fit(lines)), key=_rate)
    return list(best)


def _labelled(label: str, words: Sequence[Word]) -> str:
    text = join(words)
    return f"{label} {text}".strip() if label else text


def _fit(lines: tuple[str, str]) -> bool:
    return all(count_columns(line) <= MAX_COLUMNS for line in lines)


def _rate(lines: tuple[str, str]) -> int:
    upper, lower = map(count_columns, lines)
    bonus = _CLAUSE_BONUS_COLUMNS if ends_clause(lines[0]) else 0
    return abs(upper - lower) - bonus
