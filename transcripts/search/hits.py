"""What a page of hits shows: each transcript, and the places where it was hit."""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self
from uuid import UUID

from django.db import connection
from django.db.models import BinaryField
from django.db.models.functions import Substr

from transcripts import word_times
from transcripts.models import Transcript
from transcripts.search import languages as search_languages
from transcripts.search import snippets
from transcripts.search.ranking import SearchPage
from transcripts.search.rules import ConfigQuery, Lexeme
from transcripts.search.snippets import Snippet

# What is more than one word for PostgreSQL.
_JOINED = r"[^\n]*\w[-/.@_'\u2019]\w"
# So many tokens of a text are looked at first: five minutes of talk. After the last
# that may be a hit come so many more to show around it; the very last may be a half.
_BEGINNING, _AROUND = 1000, 50
_CHARACTERS = 8 * _BEGINNING
_FIRST_STARTS = Substr(
    "starts", 1, word_times.WIDTH * _BEGINNING, output_field=BinaryField()
)
_SHOWN = (
    *("language", "confidence", "duration_seconds", "words", "created_at"),
    *("job__mode", "job__batch_id", "job__custom_id", "job__filename"),
    *("job__metadata", "job__options"),
)
# Of one page; far more than a page of short words has of one first letter.
_MOST_FORMS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownHit:
    """A transcript and where it was hit."""

    transcript: Transcript
    language: str
    rank: float | None = None
    snippets: list[Snippet] = field(default_factory=list)


def show_hits(found: SearchPage, *, words: bool) -> list[ShownHit]:
    """Return what is shown of the hits, in their order; erased ones are gone."""
    rows = Transcript.objects.filter(pk__in=[hit.transcript_id for hit in found.hits])
    rows = rows.select_related("job").only(*_SHOWN, *(["text"] if words else []))
    if words:
        rows = rows.annotate(first_starts=_FIRST_STARTS)
    read = {row.pk: row for row in rows}
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


@dataclass(frozen=True, slots=True)
class _Text:
    """What is looked at of a transcript's text, and by which rules it is cut."""

    transcript: Transcript
    config: str
    tokens: list[str]
    space: str
    starts: bytes
    # How many tokens may be hits; None: all.
    most: int | None
    different: set[str]

    @classmethod
    def begin(cls, transcript: Any) -> Self:
        """Look at the beginning; a short text is all there."""
        said = transcript.text
        tokens, space = word_times.split_tokens(said[:_CHARACTERS])
        is_all = len(said) <= _CHARACTERS and len(tokens) <= _BEGINNING
        most = None if is_all else max(0, min(_BEGINNING, len(tokens) - _AROUND))
        starts, different = bytes(transcript.first_starts), set(tokens[:most])
        config = _config(transcript)
        return cls(transcript, config, tokens, space, starts, most, different)

    def look_on(self, starts: bytes) -> Self:
        """Look at all of it."""
        tokens, space = word_times.split_tokens(self.transcript.text)
        return replace(
            self,
            tokens=tokens,
            space=space,
            starts=starts,
            most=None,
            different=set(tokens),
        )


def _find_places(
    transcripts: Iterable[Transcript], queries: Iterable[ConfigQuery]
) -> dict[UUID, list[Snippet]]:
    """Return the best places of each transcript.

    A text that has all that was asked for in its beginning, and places enough there, is
    not looked at any further: hours of talk are full of frequent words.
    """
    lexemes = {query.config: query.lexemes for query in queries}
    places: dict[UUID, list[Snippet]] = {}
    texts = [_Text.begin(each) for each in transcripts]
    while texts:
        tokens: dict[str, set[str]] = defaultdict(set)
        for text in texts:
            tokens[text.config] |= text.different
        matched = _find_forms(tokens, lexemes)
        lacking = {}
        for text in texts:
            forms = matched[text.config]
            cut = snippets.cut_snippets(
                text.tokens,
                text.space,
                starts=text.starts,
                matched=forms,
                most=text.most,
            )
            sought = {lexeme.text for lexeme in lexemes.get(text.config, ())}
            said = {forms[token] for token in forms.keys() & text.different}
            if (len(cut) == snippets.MOST and said == sought) or text.most is None:
                places[text.transcript.pk] = cut
            else:
                lacking[text.transcript.pk] = text
        starts = Transcript.objects.filter(pk__in=lacking).values_list("pk", "starts")
        texts = [lacking[pk].look_on(bytes(each)) for pk, each in starts]
    return places


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
    return build_candidate_pattern(initials).findall("\n".join(different))


def build_candidate_pattern(initials: str) -> re.Pattern[str]:
    """Return the pattern of a line that begins with one of the initials, or may."""
    # An accent may be lost on the way to a lexeme.
    begun = rf"[^\w\n]*+(?:[{re.escape(initials)}]|[^\x00-\x7f])"
    return re.compile(f"^(?:{begun}|{_JOINED})[^\n]*$", re.MULTILINE | re.IGNORECASE)


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
