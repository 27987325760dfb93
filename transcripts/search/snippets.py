"""Extract snippets around the matches in a text, with their times. Pure."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, count, groupby, islice

from transcripts import word_times

MAX_SNIPPETS = 3
_BEFORE, _AFTER = 8, 16
# The characters per word in scripts without spaces.
_CHARACTERS = 3
# Per transcript; further matches are ignored.
_MAX_MATCHES = 2000
_WORD_CHARACTER = re.compile(r"\w")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnippetPart:
    """A part of a snippet: a match, or the text around it."""

    text: str
    is_match: bool = False
    start_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """An excerpt of a transcript in parts, and the time of its first match."""

    start_seconds: float | None
    parts: list[SnippetPart]


def cut_snippets(
    tokens: Sequence[str],
    space: str,
    *,
    starts: bytes,
    matched: Mapping[str, str],
    limit: int | None = None,
) -> list[Snippet]:
    """Return the best snippets in text order.

    ``matched`` maps matching tokens to the word of the query. Snippets with more
    distinct words are better, then those with the words closer together, then earlier
    ones. Only matches among the first ``limit`` tokens count.
    """
    # C-level iteration: texts may be long.
    are_hits = map(matched.__contains__, islice(tokens, limit))
    places = compress(count(), are_hits)
    hits = {index: matched[tokens[index]] for index in places}
    scale = 1 if space else _CHARACTERS
    snippets = []
    for place in sorted(_choose(hits, _AFTER * scale)):
        first, end = max(0, place - _BEFORE * scale), place + _AFTER * scale
        window = range(first, min(len(tokens), end))
        snippets.append(
            Snippet(
                start_seconds=word_times.start_of(starts, place),
                parts=list(_build_parts(tokens, space, window, hits, starts)),
            )
        )
    return snippets


def _choose(hits: Mapping[int, str], reach: int) -> list[int]:
    """Return the positions of the best windows, which do not overlap."""
    places = list(islice(hits, _MAX_MATCHES))
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
        if len(chosen) == MAX_SNIPPETS:
            break
    return chosen


def _build_parts(
    tokens: Sequence[str],
    space: str,
    window: range,
    hits: Collection[int],
    starts: bytes,
) -> Iterator[SnippetPart]:
    """Yield the parts; punctuation around a match is not part of it."""
    around = ""
    for is_hit, run in groupby(window, key=lambda index: index in hits):
        indexes = list(run)
        text = space.join(tokens[index] for index in indexes)
        text += space if indexes[-1] != window[-1] else ""
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
    """Return the text before the first word character, up to the last, and after it.

    Searches from both ends: one pattern for all three parts would take quadratic time.
    """
    if not (first := _WORD_CHARACTER.search(text)):
        return text, "", ""
    last = _WORD_CHARACTER.search(text[::-1])
    end = len(text) - last.start() if last else len(text)
    return text[: first.start()], text[first.start() : end], text[end:]
