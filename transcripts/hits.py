"""What a page of hits shows: each transcript, and the places where it was hit."""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from django.db import connection

from transcripts import search_languages, snippets, word_times
from transcripts.models import Transcript
from transcripts.search_rules import Lexeme, Query
from transcripts.searching import Found
from transcripts.snippets import Snippet

# What is more than one word for PostgreSQL.
_JOINED = r"[^\n]*\w[-/.@_'\u2019]\w"
# So many tokens of a text are looked at first: ten minutes of talk.
_BEGINNING = 2000
# Of one page; far more than a page of short words has of one first letter.
_MOST_FORMS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownHit:
    """A transcript and where it was hit."""

    transcript: Transcript
    language: str
    rank: float | None = None
    snippets: list[Snippet] = field(default_factory=list)


def show_hits(found: Found, *, words: bool) -> list[ShownHit]:
    """Return what is shown of the hits, in their order; erased ones are gone."""
    rows = Transcript.objects.filter(pk__in=[hit.transcript_id for hit in found.hits])
    if not words:
        rows = rows.defer("text", "starts")
    read = {row.pk: row for row in rows.select_related("job")}
    places = _find_places(read.values(), found.queries) if words else {}
    return [
        ShownHit(
            transcript=read[hit.transcript_id],
            language=_language(read[hit.transcript_id]),
            rank=hit.rank if words else None,
            snippets=places.get(hit.transcript_id, []),
        )
        for hit in found.hits
        if hit.transcript_id in read
    ]


def _find_places(
    transcripts: Collection[Transcript], queries: Iterable[Query]
) -> dict[UUID, list[Snippet]]:
    """Return the best places of each transcript.

    A text that has all that was asked for in its beginning, and places enough there, is
    not read any further: hours of talk are full of frequent words.
    """
    lexemes = {query.config: query.lexemes for query in queries}
    texts = [_Text.of(each) for each in transcripts]
    places: dict[UUID, list[Snippet]] = {}
    for most in (_BEGINNING, None):
        heads = [(each, set(each.tokens[:most])) for each in texts]
        tokens: dict[str, set[str]] = defaultdict(set)
        for text, head in heads:
            tokens[text.config] |= head
        matched = _find_forms(tokens, lexemes)
        for text, head in heads:
            forms = matched[text.config]
            cut = snippets.cut_snippets(
                text.tokens,
                text.space,
                starts=bytes(text.transcript.starts),
                matched=forms,
                most=most,
            )
            sought = {lexeme.text for lexeme in lexemes.get(text.config, ())}
            said = {forms[token] for token in forms.keys() & head}
            if (len(cut) == snippets.MOST and said == sought) or text.ends_by(most):
                places[text.transcript.pk] = cut
        texts = [each for each in texts if each.transcript.pk not in places]
        if not texts:
            break
    return places


@dataclass(frozen=True, slots=True)
class _Text:
    """A transcript's tokens, what stands between them, and by which rules it is cut."""

    transcript: Transcript
    tokens: list[str]
    space: str
    config: str

    @classmethod
    def of(cls, transcript: Transcript) -> Self:
        tokens, space = word_times.split_tokens(transcript.text)
        return cls(transcript, tokens, space, _config(transcript))

    def ends_by(self, most: int | None) -> bool:
        return most is None or len(self.tokens) <= most


def _config(transcript: Transcript) -> str:
    return search_languages.config_of(_language(transcript))


def _language(transcript: Transcript) -> str:
    return search_languages.language_of(
        detected=transcript.language, options=transcript.job.options
    )


def _find_forms(
    tokens: Mapping[str, Collection[str]], lexemes: dict[str, tuple[Lexeme, ...]]
) -> dict[str, dict[str, str]]:
    """Return by configuration the tokens that are hits, and of which word.

    PostgreSQL decides, over the different tokens that may be: the texts themselves
    are not read through by its parser a second time.
    """
    matched: dict[str, dict[str, str]] = defaultdict(dict)
    for config, known in tokens.items():
        sought = lexemes.get(config, ())
        candidates = _candidates(config, known, sought)[:_MOST_FORMS]
        for token, cut in _cut_words(config, candidates):
            for lexeme in sought:
                if any(map(lexeme.matches, cut)):
                    matched[config][token] = lexeme.text
                    break
    return matched


def _candidates(
    config: str, tokens: Iterable[str], lexemes: Sequence[Lexeme]
) -> list[str]:
    """Return the tokens that may be forms of the words: most begin as those do."""
    different = list(tokens)
    if config in search_languages.CUT_IN_FRONT or not lexemes:
        return different
    initials = "".join({_initial(lexeme.text) for lexeme in lexemes}) or "\0"
    # An accent may be lost on the way to a lexeme.
    begun = rf"[^\w\n]*(?:[{re.escape(initials)}]|[^\x00-\x7f])"
    pattern = re.compile(f"^(?:{begun}|{_JOINED})[^\n]*$", re.MULTILINE | re.IGNORECASE)
    return pattern.findall("\n".join(different))


def _initial(word: str) -> str:
    """Return the first letter or digit, small and without accents."""
    for character in word:
        if character.isalnum():
            if character.isascii():
                return character.lower()
            return unicodedata.normalize("NFKD", character).lower()[0]
    return ""


def _cut_words(config: str, tokens: Sequence[str]) -> list[tuple[str, list[str]]]:
    if not tokens:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tsvector_to_array(to_tsvector(%s::regconfig, prepared))"
            " FROM json_array_elements_text(%s::json) WITH ORDINALITY"
            " AS of (prepared, n) ORDER BY n",
            # One text: an array's elements would be quoted one by one.
            [config, json.dumps([search_languages.prepare(t) for t in tokens])],
        )
        cut = [words for (words,) in cursor.fetchall()]
    return list(zip(tokens, cut, strict=True))
