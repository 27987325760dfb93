"""How words stand together: sentences, paragraphs, utterances. Pure.

Speakers split everything: no sentence, paragraph or utterance has two of them.
"""

from collections.abc import Callable, Iterator, Sequence

from workers.emulator import engines

Words = Sequence[engines.Word]

_SENTENCES_IN_A_PARAGRAPH = 4
_FULL_STOPS = (".", "?", "!")


def split_sentences(words: Words) -> Iterator[tuple[int, int]]:
    """Yield the first and one past the last word of each sentence."""
    return _split(
        words,
        lambda before, after: (
            before.written.endswith(_FULL_STOPS) or before.speaker != after.speaker
        ),
    )


def split_utterances(words: Words, pause: float) -> Iterator[tuple[int, int]]:
    """Yield the bounds of each stretch without a longer pause."""
    return _split(
        words,
        lambda before, after: (
            after.start - before.end > pause or before.speaker != after.speaker
        ),
    )


def group_paragraphs(words: Words) -> Iterator[list[tuple[int, int]]]:
    """Yield the sentences of each paragraph."""
    group: list[tuple[int, int]] = []
    for first, last in split_sentences(words):
        if group and (
            len(group) == _SENTENCES_IN_A_PARAGRAPH
            or words[group[-1][0]].speaker != words[first].speaker
        ):
            yield group
            group = []
        group.append((first, last))
    if group:
        yield group


def join_text(words: Words, *, is_written: bool) -> str:
    """Return the words as one line, with or without punctuation."""
    return " ".join(word.written if is_written else word.text for word in words)


def mean_confidence(words: Words) -> float:
    """Return the mean, 0 for silence, as upstream."""
    if not words:
        return 0.0
    return round(sum(word.confidence for word in words) / len(words), 7)


def _split(
    words: Words, is_border: Callable[[engines.Word, engines.Word], bool]
) -> Iterator[tuple[int, int]]:
    first = 0
    for place in range(1, len(words)):
        if is_border(words[place - 1], words[place]):
            yield first, place
            first = place
    if words:
        yield first, len(words)
