"""Split a transcript into captions, each with its voice, start and end. Pure.

A caption has one voice, at most two lines of 42 columns, and lasts 1 to 7 seconds; it
ends after a sentence, before a pause, and at a change of voice. Captions of several
channels are merged by time. They never overlap and omit no word: overlapping speech is
shown later than it is spoken.

Sources: Netflix, Timed Text Style Guide, General Requirements ("Duration": at least
5/6 s, at most 7 s; "Line Treatment": two lines) and English Template ("Character
Limitation": 42; "Reading Speed": 17 a second); BBC, Subtitle Guidelines 5.2 (no longer
than 1.5 s on the screen after the speech has stopped). The platform's minimum is 1 s.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import regex

from transcripts.formats.lines import (
    MAX_COLUMNS,
    break_lines,
    count_columns,
    cut,
    ends_clause,
    fit,
)
from transcripts.formats.words import Voice, Word, join, read_channels

MIN_MS = 1000
MAX_MS = 7000
PAUSE_MS = 800
MS_PER_COLUMN = 1000 // 17
LINGER_MS = 1500
# The full stops, question and exclamation marks of all scripts, with closing quotes.
# Unicode Standard Annex 29, table 4: STerm, ATerm, Close.
_SENTENCE_END = regex.compile(r"[\p{SB=ST}\p{SB=AT}\u2026]\p{SB=CL}*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Words of one voice that are shown together; times in milliseconds."""

    words: tuple[Word, ...]
    start: int
    end: int

    @property
    def voice(self) -> Voice:
        """The voice of all words."""
        return self.words[0].voice

    def lines(self, label: str = "") -> list[str]:
        """Return the one or two lines; the first begins with the label."""
        return break_lines(self.words, label)


def build_captions(
    document: dict[str, Any], *, has_labels: bool = False
) -> list[Caption]:
    """Return the captions of a Deepgram document, in order of time.

    With ``has_labels`` and several voices, each caption leaves room for its label.
    """
    channels = read_channels(document)
    voices = {word.voice for words in channels for word in words}
    labels = {
        voice: build_label(voice) if has_labels and len(voices) > 1 else ""
        for voice in voices
    }
    groups = [
        group for words in channels for group in _group(_cut_all(words, labels), labels)
    ]
    groups.sort(key=lambda words: words[0].start)
    return _schedule(groups)


def build_label(voice: Voice) -> str:
    """Return the prefix that names a voice in formats without voice markup."""
    return f"{voice}:" if str(voice) else ""


def _cut_all(words: Iterable[Word], labels: dict[Voice, str]) -> Iterator[Word]:
    for word in words:
        label = labels[word.voice]
        room = MAX_COLUMNS - (count_columns(label) + 1 if label else 0)
        yield from cut(word, room)


def _group(words: Iterable[Word], labels: dict[Voice, str]) -> Iterator[list[Word]]:
    """Group the words of one channel into captions."""
    group: list[Word] = []
    for word in words:
        if group and _is_break(group, word):
            yield group
            group = []
        label = labels[word.voice]
        if not fit([*group, word], label):
            index = _find_clause_end(group, word, label)
            yield group[:index]
            group = group[index:]
        group.append(word)
    if group:
        yield group


def _find_clause_end(group: list[Word], word: Word, label: str) -> int:
    """Return where to split a full caption, if possible after a clause."""
    for index in range(len(group) - 1, len(group) // 2, -1):
        is_end = ends_clause(group[index - 1].text)
        if is_end and fit([*group[index:], word], label):
            return index
    return len(group)


def _is_break(group: list[Word], word: Word) -> bool:
    first, last = group[0], group[-1]
    is_long_enough = last.end - first.start >= MIN_MS
    return (
        word.voice != last.voice
        or word.start - last.end > PAUSE_MS
        or word.end - first.start > MAX_MS
        or (is_long_enough and ends_sentence(last))
    )


def ends_sentence(word: Word) -> bool:
    """Return whether the word is the last of a sentence, in any script."""
    return _SENTENCE_END.search(word.text) is not None


def _schedule(groups: list[list[Word]]) -> list[Caption]:
    """Assign times: not before the speech starts, and after the previous caption."""
    captions, at = [], 0
    for number, words in enumerate(groups, start=1):
        start = max(words[0].start, at)
        speech_end = words[-1].end
        readable = start + MS_PER_COLUMN * count_columns(join(words))
        end = max(speech_end, min(readable, speech_end + LINGER_MS))
        if number < len(groups):
            end = min(end, groups[number][0].start)
        at = min(max(end, start + MIN_MS), start + MAX_MS)
        captions.append(Caption(words=tuple(words), start=start, end=at))
    return captions
