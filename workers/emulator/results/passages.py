"""Groups words into sentences, paragraphs and utterances.

A change of speaker ends each of them.
"""

from collections.abc import Callable, Iterator, Sequence

from workers.emulator import engines

Words = Sequence[engines.Word]

_PARAGRAPH_SENTENCES = 4
_FULL_STOPS = (".", "?", "!")


def split_sentences(words: Words) -> Iterator[tuple[int, int]]:
    """Yield start and end index (exclusive) of each sentence."""
    return _split(
        words,
        lambda before, after: (
            before.written.endswith(_FULL_STOPS) or before.speaker != after.speaker
        ),
    )


def split_utterances(words: Words, pause: float) -> Iterator[tuple[int, int]]:
    """Yield start and end index of each utterance; a longer pause ends it."""
    return _split(
        words,
        lambda before, after: (
            after.start - before.end > pause or before.speaker != after.speaker
        ),
    )


def group_paragraphs(words: Words) -> Iterator[list[tuple[int, int]]]:
    """Yield the sentence bounds of each paragraph."""
    group: list[tuple[int, int]] = []
    for first, last in split_sentences(words):
        if group and (
            len(group) == _PARAGRAPH_SENTENCES
            or words[group[-1][0]].speaker != words[first].speaker
        ):
            yield group
            group = []
        group.append((first, last))
    if group:
        yield group


def join_text(words: Words, *, is_written: bool) -> str:
    """Return the words joined by spaces, with or without punctuation."""
    return " ".join(word.written if is_written else word.text for word in words)


def mean_confidence(words: Words) -> float:
    """Return the mean confidence, 0 for silence as Deepgram does."""
    if not words:
        return 0.0
    return round(sum(word.confidence for word in words) / len(words), 7)


def _split(
    words: Words, is_boundary: Callable[[engines.Word, engines.Word], bool]
) -> Iterator[tuple[int, int]]:
    first = 0
    for place in range(1, len(words)):
        if is_boundary(words[place - 1], words[place]):
            yield first, place
            first = place
    if words:
        yield first, len(words)
