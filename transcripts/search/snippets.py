"""Cut the places out of a text where it was hit, and say when they were said: pure."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, count, groupby, islice

from transcripts import word_times

MOST = 3
_BEFORE, _AFTER = 8, 16
# Characters of a script without spaces that stand for a word.
_CHARACTERS = 3
# Of one transcript; who says a word oftener is shown by the first of them.
_MOST_HITS = 2000
_WORD_CHARACTER = re.compile(r"\w")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnippetPart:
    """A piece of a snippet: what was looked for, or what stands around it."""

    text: str
    is_match: bool = False
    start_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A place in a transcript, in pieces, and when its first match is heard."""

    start_seconds: float | None
    parts: list[SnippetPart]


def cut_snippets(
    tokens: Sequence[str],
    space: str,
    *,
    starts: bytes,
    matched: Mapping[str, str],
    most: int | None = None,
) -> list[Snippet]:
    """Return the best places, in the order of the text, which was split into tokens.

    ``matched`` has the tokens that are hits, each with the word it is a form of. Best
    is where most of the words stand together, closest, then what comes first; only hits
    among the first ``most`` tokens count.
    """
    # Of long texts all but these steps are taken without the interpreter.
    are_hits = map(matched.__contains__, islice(tokens, most))
    places = compress(count(), are_hits)
    hits = {index: matched[tokens[index]] for index in places}
    scale = 1 if space else _CHARACTERS
    snippets = []
    for place in sorted(_choose(hits, _AFTER * scale)):
        first, end = max(0, place - _BEFORE * scale), place + _AFTER * scale
        shown = range(first, min(len(tokens), end))
        snippets.append(
            Snippet(
                start_seconds=word_times.start_of(starts, place),
                parts=list(_parts(tokens, space, shown, hits, starts)),
            )
        )
    return snippets


def _choose(hits: Mapping[int, str], reach: int) -> list[int]:
    """Return where the best windows begin; no two of them overlap."""
    places = list(islice(hits, _MOST_HITS))
    scored = []
    for number, place in enumerate(places):
        near: dict[str, int] = {}
        for other in islice(places, number, number + reach):
            if other < place + reach:
                near.setdefault(hits[other], other)
        scored.append((-len(near), max(near.values()), place))
    chosen: list[int] = []
    for _, _, place in sorted(scored, key=lambda it: (it[0], it[1] - it[2], it[2])):
        if all(abs(place - other) >= reach for other in chosen):
            chosen.append(place)
        if len(chosen) == MOST:
            break
    return chosen


def _parts(
    tokens: Sequence[str],
    space: str,
    shown: range,
    hits: Collection[int],
    starts: bytes,
) -> Iterator[SnippetPart]:
    """Yield the pieces; punctuation around a match belongs to what surrounds it."""
    around = ""
    for is_hit, run in groupby(shown, key=lambda index: index in hits):
        indexes = list(run)
        text = space.join(tokens[index] for index in indexes)
        text += space if indexes[-1] != shown[-1] else ""
        if not is_hit:
            around += text
            continue
        before, match, after = _split_punctuation(text)
        if around + before:
            yield SnippetPart(text=around + before)
        start = word_times.start_of(starts, indexes[0])
        yield SnippetPart(text=match, is_match=True, start_seconds=start)
        around = after
    if around:
        yield SnippetPart(text=around)


def _split_punctuation(text: str) -> tuple[str, str, str]:
    """Return what stands before the first word character, up to the last, and after.

    Two searches, one from each end: a pattern for all three parts would try each end
    again for each start.
    """
    if not (first := _WORD_CHARACTER.search(text)):
        return text, "", ""
    last = _WORD_CHARACTER.search(text[::-1])
    end = len(text) - last.start() if last else len(text)
    return text[: first.start()], text[first.start() : end], text[end:]
