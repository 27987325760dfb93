"""Cut a transcript into captions: what is shown, by whom it is said, from when to when.

Pure. A caption has one voice, two lines of 42 columns, and 1 to 7 seconds; it ends with
a sentence, before a pause, and where the voice changes. Those of several channels are
put in one order by time. None overlaps another, no word is left out: where more is said
at once than can be read one after another, what comes later is shown later.

The figures: Netflix, Timed Text Style Guide, General Requirements ("Duration": at least
5/6 s, at most 7 s; "Line Treatment": two lines) and English Template ("Character
Limitation": 42; "Reading Speed": 17 a second); BBC, Subtitle Guidelines 5.2 (no longer
than 1.5 s on the screen after the speech has stopped). One second is our least.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from transcripts.formats.lines import (
    CLAUSE_ENDS,
    MAX_COLUMNS,
    break_lines,
    count_columns,
    cut,
    fit,
)
from transcripts.formats.words import Voice, Word, join, read_channels

MIN_MS = 1000
MAX_MS = 7000
PAUSE_MS = 800
MS_PER_COLUMN = 1000 // 17
LINGER_MS = 1500
_SENTENCE_ENDS = (".", "?", "!", "\u2026", "\u3002", "\uff1f", "\uff01")
_CLOSING = "\"')]\u2019\u201d\u00bb\u300d\u300f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Words of one voice that are shown together, in milliseconds."""

    words: tuple[Word, ...]
    start: int
    end: int

    @property
    def voice(self) -> Voice:
        """Who says it."""
        return self.words[0].voice

    def lines(self, label: str = "") -> list[str]:
        """Return the one or two lines, after a label for which room was left."""
        return break_lines(self.words, label)


def build_captions(
    document: dict[str, Any], *, has_labels: bool = False
) -> list[Caption]:
    """Return the captions of Deepgram's document, one after another.

    With labels there is room in each for its voice's name, wherever there are several
    voices.
    """
    channels = read_channels(document)
    voices = {word.voice for words in channels for word in words}
    labels = {
        voice: label_of(voice) if has_labels and len(voices) > 1 else ""
        for voice in voices
    }
    groups = [
        group for words in channels for group in _group(_cut_all(words, labels), labels)
    ]
    groups.sort(key=lambda words: words[0].start)
    return _schedule(groups)


def label_of(voice: Voice) -> str:
    """Return what stands before the words of a voice, where no markup can say it."""
    return f"{voice}:" if str(voice) else ""


def _cut_all(words: Iterable[Word], labels: dict[Voice, str]) -> Iterator[Word]:
    for word in words:
        label = labels[word.voice]
        room = MAX_COLUMNS - (count_columns(label) + 1 if label else 0)
        yield from cut(word, room)


def _group(words: Iterable[Word], labels: dict[Voice, str]) -> Iterator[list[Word]]:
    """Put the words of one channel together as they are shown."""
    group: list[Word] = []
    for word in words:
        if group and _is_break(group, word):
            yield group
            group = []
        label = labels[word.voice]
        if not fit([*group, word], label):
            place = _find_clause_end(group, word, label)
            yield group[:place]
            group = group[place:]
        group.append(word)
    if group:
        yield group


def _find_clause_end(group: list[Word], word: Word, label: str) -> int:
    """Return where to cut what is full: what follows a comma may stay with the next."""
    for place in range(len(group) - 1, len(group) // 2, -1):
        is_end = group[place - 1].text.endswith(CLAUSE_ENDS)
        if is_end and fit([*group[place:], word], label):
            return place
    return len(group)


def _is_break(group: list[Word], word: Word) -> bool:
    first, last = group[0], group[-1]
    is_long_enough = last.end - first.start >= MIN_MS
    return (
        word.voice != last.voice
        or word.start - last.end > PAUSE_MS
        or word.end - first.start > MAX_MS
        or (is_long_enough and _ends_sentence(last))
    )


def _ends_sentence(word: Word) -> bool:
    return word.text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)


def _schedule(groups: list[list[Word]]) -> list[Caption]:
    """Give each its time: no earlier than it is said, and after the one before it."""
    captions, at = [], 0
    for number, words in enumerate(groups, start=1):
        start = max(words[0].start, at)
        said = words[-1].end
        readable = start + MS_PER_COLUMN * count_columns(join(words))
        wanted = max(said, min(readable, said + LINGER_MS))
        if number < len(groups):
            wanted = min(wanted, groups[number][0].start)
        at = min(max(wanted, start + MIN_MS), start + MAX_MS)
        captions.append(Caption(words=tuple(words), start=start, end=at))
    return captions
